"""The command lines in the guides of other projects run unmodified.

They are copied as the guides print them. Each looks for `gpt2`, or an 8 B model, and for a sample text; the tests provide small
ones there.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import huggingface_hub.constants
import pytest
import torch
import yaml
from tokenizers import ByteLevelBPETokenizer
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedTokenizerFast
from typer.testing import Result

Call = Callable[..., Result]
Records = Callable[[Path], list[dict[str, Any]]]

ROOT = Path(__file__).parents[3]
TEXT = Path("training_data", "curated_datasets", "test_sample.txt")
LOG = Path("artifacts", "brains", "actv1", "metrics.jsonl")
PROTOTYPE = "configs/prototype_rtx4090_16gb_no_deepspeed.yaml"

ACTV1 = [
    "aios hrm-hf train-actv1 --model gpt2 --dataset-file training_data/curated_datasets/test_sample.txt --steps 10 "
    "--batch-size 1 --amp --gradient-checkpointing --window-size 2048 --log-file artifacts/brains/actv1/metrics.jsonl",
    "aios hrm-hf train-actv1 --model gpt2 --dataset-file training_data/curated_datasets/test_sample.txt --steps 50 "
    "--batch-size 2 --amp --gradient-checkpointing --log-file artifacts/brains/actv1/metrics.jsonl",
    "aios hrm-hf train-actv1 --model gpt2 --dataset-file training_data/curated_datasets/test_sample.txt --steps 50 "
    "--batch-size 2 --amp --gradient-checkpointing --window-size 2048 --log-file artifacts/brains/actv1/metrics.jsonl",
    "aios hrm-hf train-actv1 --model gpt2 --dataset-file training_data/curated_datasets/test_sample.txt --steps 50 "
    "--batch-size 1 --amp --gradient-checkpointing --dataset-chunk-size 4000 --log-file artifacts/brains/actv1/metrics.jsonl",
]
TRAIN = f"aios train --config {PROTOTYPE}"
# For a run of seconds on a CPU. Appended to a line, because the last of two equal options wins.
FEW = "--steps 2 --device cpu --hidden-size 32 --num-heads 2 --max-seq-len 32 --eval-fraction 0.2"


def words(line: str) -> list[str]:
    """The arguments of `aios` in a command line."""
    return shlex.split(line)[1:]


def write_model(folder: Path, kind: str) -> None:
    """Write a model of this type and a tokenizer in Hugging Face's layout."""
    tokenizer = ByteLevelBPETokenizer()
    tokenizer.train_from_iterator(["It is a truth universally acknowledged"], vocab_size=300)
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer._tokenizer, eos_token="<|endoftext|>")
    fast.save_pretrained(folder)
    sizes = {"num_hidden_layers": 2, "hidden_size": 32, "num_attention_heads": 4, "vocab_size": len(fast)}
    ends = {"bos_token_id": fast.eos_token_id, "eos_token_id": fast.eos_token_id}
    config = AutoConfig.for_model(kind, **sizes, **ends, max_position_embeddings=2048)
    AutoModelForCausalLM.from_config(config, dtype=torch.float32).save_pretrained(folder)


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder like a clone of this repository, with a shorter text and no models."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    (tmp_path / TEXT).parent.mkdir(parents=True)
    novel = (ROOT / TEXT).read_text(encoding="utf-8")
    (tmp_path / TEXT).write_text(novel[:20_000], encoding="utf-8", newline="\n")
    (tmp_path / PROTOTYPE).parent.mkdir()
    (tmp_path / PROTOTYPE).write_bytes((ROOT / PROTOTYPE).read_bytes())
    return tmp_path


def cached(world: Path, name: str) -> Path:
    """The folder of a model in the Hugging Face cache."""
    folder = world / "cache" / f"models--{name.replace('/', '--')}"
    (folder / "refs").mkdir(parents=True)
    (folder / "refs" / "main").write_text("0" * 40, encoding="utf-8")
    return folder / "snapshots" / ("0" * 40)


@pytest.mark.parametrize("line", ACTV1)
def test_train_actv1(line: str, world: Path, call: Call, records: Records) -> None:
    write_model(world / "gpt2", "gpt2")
    result = call(*words(line), *words(f"aios {FEW}"))
    assert result.exit_code == 0, result.output
    start, *rest = records(world / LOG)
    trained = [record for record in rest if record["event"] == "train"]
    assert [record["step"] for record in trained] == [1, 2]
    assert {"ce", "bce_halt", "bce_continue", "used_segments"} <= set(trained[0])
    assert start["precision"] == "bfloat16"
    assert start["config"]["model"]["gradient_checkpointing"] is True
    assert trained[0]["window_size"] == (2048 if "--window-size" in line else None)


def test_several_lines_can_be_run_one_after_the_other(world: Path, call: Call, records: Records) -> None:
    """All of them write to the same log file."""
    write_model(world / "gpt2", "gpt2")
    for line in ACTV1[:2]:
        assert call(*words(line), *words(f"aios {FEW}")).exit_code == 0
    assert [record["event"] for record in records(world / LOG)].count("run_start") == 2
    assert call("runs", "artifacts").stdout.count("finished") == 2


@pytest.mark.slow
def test_the_first_line_runs_unmodified(world: Path, call: Call, records: Records) -> None:
    write_model(world / "gpt2", "gpt2")
    result = call(*words(ACTV1[0]))
    assert result.exit_code == 0, result.output
    assert [r["step"] for r in records(world / LOG) if r["event"] == "train"] == list(range(1, 11))


def test_gpt2_is_found_in_the_hugging_face_cache(world: Path, call: Call) -> None:
    write_model(cached(world, "gpt2"), "gpt2")
    result = call(*words(ACTV1[0]), *words(f"aios {FEW}"))
    assert result.exit_code == 0, result.output


def test_without_gpt2_the_places_searched_and_the_byte_tokenizer_are_named(world: Path, call: Call) -> None:
    result = call(*words(ACTV1[0]))
    assert result.exit_code == 2
    message = "".join(result.stderr.split())
    for place in (world / "gpt2", world / "cache"):
        assert "".join(str(place).split()) in message
    assert "--tokenizer byte" in result.stderr
    line = ACTV1[0].replace("--model gpt2", "--tokenizer byte")
    assert call(*words(line), *words(f"aios {FEW}")).exit_code == 0


FEW_PROTOTYPE_STEPS = (
    "--steps 2 --device cpu --max-length 64 --gradient-accumulation-steps 2 --eval-fraction 0.2"
)


def test_the_prototype_configuration_runs(world: Path, call: Call, records: Records) -> None:
    write_model(cached(world, "nvidia/nemotron-3-8b-base-4k"), "llama")
    result = call(*words(TRAIN), *words(f"aios {FEW_PROTOTYPE_STEPS}"))
    assert result.exit_code == 0, result.output
    (log,) = (world / "artifacts").rglob("metrics.jsonl")
    start = records(log)[0]
    assert start["attention"]["requested"] == "flash_attn_2"
    assert start["config"]["model"]["name"] == "nvidia/nemotron-3-8b-base-4k"


@pytest.mark.parametrize(
    ("edit", "backend", "length"),
    [
        ('model:\n  name: "nvidia/nemotron-3-8b-base-4k"\n  use_flash_attention: false\n', "sdpa", 2048),
        ("data:\n  max_length: 1024\n", "flash_attn_2", 1024),
    ],
)
def test_the_prototype_runs_with_the_edits_that_guides_advise(
    edit: str, backend: str, length: int, world: Path, call: Call, records: Records
) -> None:
    write_model(world / "nvidia" / "nemotron-3-8b-base-4k", "llama")
    settings = yaml.safe_load((world / PROTOTYPE).read_text(encoding="utf-8"))
    for section, values in yaml.safe_load(edit).items():
        settings[section] |= values
    (world / PROTOTYPE).write_text(yaml.safe_dump(settings), encoding="utf-8")
    few = "aios --steps 1 --device cpu --gradient-accumulation-steps 1 --eval-fraction 0.4"
    result = call(*words(TRAIN), *words(few))
    assert result.exit_code == 0, result.output
    (log,) = (world / "artifacts").rglob("metrics.jsonl")
    start = records(log)[0]
    assert start["attention"]["requested"] == backend
    assert start["config"]["data"]["max_length"] == length


def test_options_can_be_spelled_with_underscores(world: Path, call: Call, records: Records) -> None:
    write_model(world / "nvidia" / "nemotron-3-8b-base-4k", "llama")
    result = call(*words(f"{TRAIN} --attention_backend=sdpa {FEW_PROTOTYPE_STEPS}"))
    assert result.exit_code == 0, result.output
    (log,) = (world / "artifacts").rglob("metrics.jsonl")
    assert records(log)[0]["attention"]["requested"] == "sdpa"
