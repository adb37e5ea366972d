"""The files in configs/: each runs, scaled down, and the figures in its comments are right."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest
import torch
import yaml
from safetensors.torch import save_file
from transformers import AutoConfig, AutoModelForCausalLM
from typer.testing import Result

import trainer.hrm.model  # noqa: F401 - registers it with transformers
from trainer import config
from trainer.models.tokenizer import ByteTokenizer
from trainer.survival import memory_estimate

ROOT = Path(__file__).parents[3]
CONFIGS = sorted((ROOT / "configs").glob("*.yaml"))
PAGE = (ROOT / "docs" / "training.md").read_text(encoding="utf-8")
SAMPLE = Path("training_data", "curated_datasets", "test_sample.txt")
Call = Callable[..., Result]
Records = Callable[[Path], list[dict[str, Any]]]

QWEN3 = {
    **{"model_type": "qwen3", "vocab_size": 151_936, "head_dim": 128, "num_key_value_heads": 8},
    **{"max_position_embeddings": 32_768, "tie_word_embeddings": True},
}
# What the config.json of each model says, as published at https://huggingface.co/Qwen.
MODELS: dict[str, dict[str, Any]] = {
    "Qwen/Qwen3-0.6B-Base": {
        **QWEN3,
        **{
            "hidden_size": 1024,
            "num_hidden_layers": 28,
            "intermediate_size": 3072,
            "num_attention_heads": 16,
        },
    },
    "Qwen/Qwen3-1.7B-Base": {
        **QWEN3,
        **{
            "hidden_size": 2048,
            "num_hidden_layers": 28,
            "intermediate_size": 6144,
            "num_attention_heads": 16,
        },
    },
    "Qwen/Qwen3-4B-Base": {
        **QWEN3,
        **{
            "hidden_size": 2560,
            "num_hidden_layers": 36,
            "intermediate_size": 9728,
            "num_attention_heads": 32,
        },
    },
    "Qwen/Qwen3-8B-Base": {
        **QWEN3,
        **{
            "hidden_size": 4096,
            "num_hidden_layers": 36,
            "intermediate_size": 12288,
            "num_attention_heads": 32,
            "tie_word_embeddings": False,
        },
    },
}
# A model of the same kind that takes a second. 65 positions, so that a longer sequence is refused.
TINY = {
    **{"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4},
    **{"num_key_value_heads": 2, "head_dim": 8, "max_position_embeddings": 65},
}
LENGTH = 64  # tokens in a sequence, instead of the configured number


def values(file: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load(file.read_text(encoding="utf-8"))
    return loaded


def full_size(file: Path) -> dict[str, Any] | None:
    """The architecture that a configuration trains; None if it names a model that is not in MODELS."""
    model = values(file)["model"]
    architecture: dict[str, Any] | None = model.get("architecture") or MODELS.get(model.get("name", ""))
    return architecture and {"vocab_size": ByteTokenizer.vocab_size, **architecture}


def parameters(architecture: dict[str, Any]) -> tuple[int, int]:
    """The number of parameters, and the number that LoRA of rank 16 adds: r per input and output of each linear layer."""
    with torch.device("meta"):
        network = AutoModelForCausalLM.from_config(AutoConfig.for_model(**architecture))
    linear = [m for n, m in network.named_modules() if isinstance(m, torch.nn.Linear) and n != "lm_head"]
    added = sum(16 * (layer.in_features + layer.out_features) for layer in linear)
    return sum(parameter.numel() for parameter in network.parameters()), added


def the(pattern: str, file: Path) -> str:
    """The text that matches the group of a pattern in a file's comments, with their lines joined."""
    text = re.sub(r"\n# ?", " ", file.read_text(encoding="utf-8"))
    found = re.search(pattern, text)
    assert found, pattern
    return found[1]


@pytest.fixture
def tiny_world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[dict[str, Any]], list[object]]:
    """A working folder with a small text and a small model at the paths that a configuration names."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / SAMPLE).parent.mkdir(parents=True)
    (tmp_path / SAMPLE).write_text("Call me Ishmael. " * 400, encoding="utf-8", newline="\n")

    def lay(settings: dict[str, Any]) -> list[object]:
        model = settings["model"]
        if "name" not in model:
            tiny = {key: TINY.get(key, value) for key, value in model["architecture"].items()}
            return ["--architecture", json.dumps(tiny)]
        kind = MODELS.get(model["name"], {"model_type": "llama"})["model_type"]
        small = AutoConfig.for_model(
            kind, **TINY, vocab_size=258, bos_token_id=256, eos_token_id=256, tie_word_embeddings=True
        )
        AutoModelForCausalLM.from_config(small, dtype=torch.float32).save_pretrained(tmp_path / model["name"])
        ByteTokenizer().save(tmp_path / model["name"])
        return []

    return lay


@pytest.mark.parametrize("file", CONFIGS, ids=lambda file: file.stem)
def test_each_configuration_trains_a_small_model_for_two_steps(
    file: Path, tiny_world: Callable[[dict[str, Any]], list[object]], call: Call, records: Records
) -> None:
    settings = values(file)
    length = settings["data"]["max_length"]
    arguments = tiny_world(settings)
    if window := settings["model"].get("window_size"):
        arguments += ["--window-size", max(1, window * LENGTH // length)]
    result = call(
        *("train", "--config", file, "--max-length", min(length, LENGTH), "--steps", 2, "--device", "cpu"),
        *("--gradient-accumulation-steps", 2, "--eval-fraction", 0.2, *arguments),
    )
    assert result.exit_code == 0, result.output
    found = records(Path(settings["output"]["output_dir"], "metrics.jsonl"))
    start, trained = found[0], [record for record in found if record["event"] == "train"]
    assert [record["step"] for record in trained] == [1, 2]
    assert {record["event"] for record in found} >= {"eval", "checkpoint", "run_end"}
    assert start["precision"] == ("bfloat16" if settings["training"].get("amp") else "float32")
    for section in ("model", "training"):
        for key in settings[section].keys() - {
            "architecture",
            "window_size",
            "steps",
            "gradient_accumulation_steps",
        }:
            assert start["config"][section][key] == settings[section][key], key


def test_the_docs_list_every_configuration() -> None:
    named = set(re.findall(r"^\| `([\w.]+\.yaml)` \|", PAGE, re.MULTILINE))
    assert named == {file.name for file in CONFIGS}


@pytest.mark.parametrize("file", CONFIGS, ids=lambda file: file.stem)
def test_the_commands_in_each_configuration_are_valid(file: Path, call: Call) -> None:
    config.load(file, {})
    text = file.read_text(encoding="utf-8")
    commands = re.findall(r"^#     aios (.*)$", text, re.MULTILINE)
    assert any(f"configs/{file.name}" in command for command in commands)
    for command in commands:
        assert call(*shlex.split(command), "--help").exit_code == 0
    assert text.isascii() and all(len(line) <= 132 for line in text.splitlines())
    assert set(values(file)) == {"model", "data", "training", "output"}


@pytest.mark.parametrize("file", CONFIGS, ids=lambda file: file.stem)
def test_windows_are_those_that_the_docs_recommend(file: Path) -> None:
    table = re.findall(r"^\| (?:up to ([\d,]+)|more) \| (?:none|(\d+) to (\d+)) \|", PAGE, re.MULTILINE)
    assert len(table) == 5
    settings = values(file)
    length, window = settings["data"]["max_length"], settings["model"].get("window_size")
    if length < 128:
        return  # in such a short sequence the window is for demonstration
    limit, low, high = next(row for row in table if not row[0] or length <= int(row[0].replace(",", "")))
    assert window is None if not low else int(low) <= window <= int(high), limit


@pytest.mark.parametrize("file", CONFIGS, ids=lambda file: file.stem)
def test_sequences_fit_the_positions_of_the_model(file: Path) -> None:
    architecture = full_size(file)
    if architecture is None:
        pytest.skip("the model's own configuration is not at hand")
    positions = getattr(AutoConfig.for_model(**architecture), "max_position_embeddings", None)
    assert positions is None or values(file)["data"]["max_length"] <= positions


@pytest.mark.parametrize("name", ["cpt_16gb", "long_context_100k", "multi_gpu", "lora"])
def test_the_number_of_parameters_is_that_of_the_comment(name: str) -> None:
    file = ROOT / "configs" / f"{name}.yaml"
    architecture = full_size(file)
    assert architecture
    count, added = parameters(architecture)
    assert f"{count:,}" in file.read_text(encoding="utf-8")
    gib = 16 * count / 2**30
    if name == "cpt_16gb":
        assert f"{gib:.1f}" == the(r"16 bytes for each of [\d,]+ parameters, ([\d.]+) GiB", file)
        assert f"{12 * count / 2**30:.1f}" == the(r"checkpoint_every: 100 # ([\d.]+) GiB each", file)
    if name == "multi_gpu":
        assert f"{gib:.1f}" == the(r"parameters are ([\d.]+) GiB in all", file)
        assert f"{gib / 2:.1f}" == the(r"in all, ([\d.]+) GiB on each of two", file)
        assert f"{gib / 4:.1f}" == the(r"([\d.]+) GiB on each of four", file)
    if name == "lora":
        assert f"{2 * count / 2**30:.1f}" == the(r"in bfloat16 are ([\d.]+) GiB", file)
        assert f"{added / 1e6:.0f}" == the(r"The adapter, (\d+) M numbers", file)
        assert f"{16 * added / 2**30:.1f}" == the(r"at rank 16, needs ([\d.]+) GiB", file)
        assert f"{gib:.0f}" == the(r"all weights would need (\d+) GiB", file)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    ["cpt_16gb", pytest.param("long_context_32k", marks=pytest.mark.long), "long_context_100k", "lora"],
)
def test_a_step_needs_the_memory_that_the_comment_says(
    name: str, tiny_world: object, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The estimate that a run on a GPU makes before it loads the weights, made here for a CPU without free memory."""
    file = ROOT / "configs" / f"{name}.yaml"
    settings = values(file)
    if model := settings["model"].get("name"):
        folder = Path(model)
        folder.mkdir(parents=True)
        AutoConfig.for_model(**MODELS[model]).save_pretrained(folder)
        ByteTokenizer().save(folder)
        # The estimate is made before the weights are loaded.
        save_file({}, folder / "model.safetensors")
    SAMPLE.write_bytes((ROOT / SAMPLE).read_bytes())
    monkeypatch.setitem(memory_estimate.OVERHEAD, "cpu", memory_estimate.OVERHEAD["cuda"])
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=0, total=64 << 30))
    result = call("train", "--config", file, "--device", "cpu")
    assert result.exit_code == 2, result.output
    estimated = re.search(r"A step needs about ([\d.]+) GiB", " ".join(result.stderr.split()))
    assert estimated, result.stderr
    assert float(the(r"step needs ([\d.]+) GiB", file)) == pytest.approx(float(estimated[1]), rel=0.05)


@pytest.mark.parametrize("file", CONFIGS, ids=lambda file: file.stem)
def test_every_configuration_says_how_often_it_reads_the_shipped_text(file: Path) -> None:
    """Tokens of other tokenizers than bytes are estimated: 4.3 bytes each, as Qwen's has on English novels."""
    comment = " ".join(
        line.lstrip("# ") for line in file.read_text(encoding="utf-8").splitlines() if line.startswith("#")
    )
    (said,) = re.findall(r"the run makes ([\d.]+) passes over the shipped text", comment, re.IGNORECASE)
    settings = yaml.safe_load(file.read_text(encoding="utf-8"))
    data, training = settings["data"], settings["training"]
    assert data["dataset_file"] == SAMPLE.as_posix()
    processes = 2 if training.get("sharding") == "full" else 1
    step = (
        training["batch_size"]
        * training.get("gradient_accumulation_steps", 1)
        * data["max_length"]
        * processes
    )
    bytes_of_a_token = 1 if settings["model"].get("tokenizer") == "byte" else 4.3
    training_part = (ROOT / SAMPLE).stat().st_size * (1 - data.get("eval_fraction", 0.05)) / bytes_of_a_token
    assert float(said) == pytest.approx(training["steps"] * step / training_part, rel=0.05)
