"""Failures that users reported, as whole commands: training computes what transformers computes, or is refused."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy
from transformers import AutoModelForCausalLM
from typer.testing import Result

from tests.trainer import small_models
from trainer import data
from trainer.config import DataSection
from trainer.models.tokenizer import ByteTokenizer

Settings = dict[str, dict[str, Any]]
WriteConfig = Callable[[Any], Path]
Call = Callable[..., Result]
Records = Callable[[Path], list[dict[str, Any]]]
Change = Callable[[Path], object]
SIZES = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}
SIZES |= {"num_key_value_heads": 2, "max_position_embeddings": 64}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a small model and its tokenizer."""
    path = tmp_path / "model"
    small_models.model("llama", backend=None).save_pretrained(path)
    ByteTokenizer().save(path)
    return path


def test_packed_nemotron_documents_have_the_held_out_loss_of_separate_ones(
    settings: Settings, write_config: WriteConfig, call: Call, records: Records, tmp_path: Path
) -> None:
    """NVIDIA-NeMo/RL#4167: packed Nemotron sequences attended across their boundaries."""
    documents = tmp_path / "pairs.jsonl"
    # With the end of a text 32 tokens: a packed row holds two, and cuts none.
    texts = [json.dumps({"text": f"{n:<5} squared is {n * n:<14}"}) for n in range(40)]
    documents.write_text("\n".join(texts), encoding="utf-8")
    settings["model"]["architecture"] = {"model_type": "nemotron"} | SIZES
    settings["data"] |= {"dataset_file": str(documents), "max_length": 64, "eval_fraction": 0.5}
    settings["training"] |= {"steps": 1, "learning_rate": 1e-12}
    losses = {}
    for packing in (True, False):
        settings["data"]["packing"] = packing
        settings["output"]["output_dir"] = str(tmp_path / f"packing {packing}")
        assert call("train", "--config", write_config(settings)).exit_code == 0
        found = records(tmp_path / f"packing {packing}" / "metrics.jsonl")
        [losses[packing]] = [record["loss"] for record in found if record["event"] == "eval"]
    assert losses[True] == pytest.approx(losses[False], rel=1e-6)


def test_the_router_loss_of_transformers_is_part_of_the_loss(
    settings: Settings, write_config: WriteConfig, call: Call, records: Records, tmp_path: Path
) -> None:
    """huggingface/transformers#44242, huggingface/trl#1544: the router's loss was left out."""
    values = {"num_local_experts": 4, "num_experts_per_tok": 2, "output_router_logits": True}
    settings["model"]["architecture"] = (
        {"model_type": "mixtral", "router_aux_loss_coef": 0.5} | SIZES | values
    )
    settings["data"] |= {"eval_fraction": 0, "linear_dataset": True}
    settings["training"] |= {"steps": 1, "learning_rate": 1e-12}
    assert call("train", "--config", write_config(settings)).exit_code == 0
    found = next(r for r in records(tmp_path / "out" / "metrics.jsonl") if r["event"] == "train")
    section = DataSection(dataset_file=settings["data"]["dataset_file"], max_length=32, eval_fraction=0)
    batch = data.load(section, ByteTokenizer(), print).training.batch(np.arange(2))
    plain = AutoModelForCausalLM.from_pretrained(tmp_path / "out/checkpoints/step-00000001")
    output = plain(input_ids=batch.tokens, output_router_logits=True)
    expected = cross_entropy(output.logits.flatten(0, 1), batch.targets.flatten())
    assert found["router_loss"] == pytest.approx(0.5 * output.aux_loss.item(), rel=1e-4)
    assert found["loss"] == pytest.approx(expected.item() + found["router_loss"], rel=1e-4)


def edit(name: str, **changes: Any) -> Change:
    def apply(folder: Path) -> None:
        path = folder / name
        content = json.loads(path.read_text(encoding="utf-8")) | changes
        kept = {key: value for key, value in content.items() if value is not ...}
        path.write_text(json.dumps(kept), encoding="utf-8")

    return apply


class Evil:
    def __reduce__(self) -> Any:
        return os.mkdir, ("the pickle ran",)


def pickled(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    torch.save({"x": Evil()}, folder / "pytorch_model.bin")


def without_end(folder: Path) -> None:
    from tests.trainer.small_tokenizers import byte_level

    (folder / "aios_tokenizer.json").unlink(missing_ok=True)
    byte_level().save_pretrained(folder)
    edit("tokenizer_config.json", eos_token=...)(folder)


FOUR_BITS = {"quant_method": "bitsandbytes", "load_in_4bit": True, "bnb_4bit_quant_type": "nf4"}
REFUSED: dict[str, tuple[Change, str]] = {
    "artidoro/qlora#114": (edit("config.json", quantization_config=FOUR_BITS), "quantized: bitsandbytes"),
    "huggingface/trl#1412": (
        edit("config.json", vocab_size=300),
        "has the shape [258, 32], but the model needs [300, 32]",
    ),
    "no end of text": (without_end, "eos_token"),
    "a pickle": (pickled, "it was not run"),
}


@pytest.mark.parametrize("lora", [False, True])
@pytest.mark.parametrize("case", REFUSED)
def test_a_model_folder_is_refused_in_one_sentence_before_the_first_step(
    case: str,
    lora: bool,
    folder: Path,
    settings: Settings,
    write_config: WriteConfig,
    call: Call,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    change, words = REFUSED[case]
    change(folder)
    monkeypatch.chdir(tmp_path)
    settings["model"] = {"name": str(folder), "use_peft": lora}
    result = call("train", "--config", write_config(settings))
    message = " ".join(result.stderr.split())
    assert result.exit_code == 2, result.output
    assert words in message
    assert "Traceback" not in message
    assert "event" not in message
    assert not (tmp_path / "the pickle ran").exists()
    assert not (tmp_path / "out" / "checkpoints").exists()


def test_an_adapter_on_a_four_bit_base_is_neither_sampled_nor_merged(
    folder: Path, settings: Settings, write_config: WriteConfig, call: Call, tmp_path: Path
) -> None:
    """axolotl-ai-cloud/axolotl#2511, artidoro/qlora#29: the base of an adapter cannot be cast."""
    settings["model"] = {"name": str(folder), "use_peft": True, "lora_r": 2}
    settings["training"]["steps"] = 1
    assert call("train", "--config", write_config(settings)).exit_code == 0
    edit("config.json", quantization_config=FOUR_BITS)(folder)
    checkpoint = tmp_path / "out" / "checkpoints" / "step-00000001"
    edit("base/config.json", quantization_config=FOUR_BITS)(checkpoint)
    (checkpoint / "checksums.json").unlink()
    for command in (
        ("generate", "--checkpoint", checkpoint),
        ("export", "--merge", "--checkpoint", checkpoint, "--output", tmp_path / "merged"),
    ):
        result = call(*command)
        assert result.exit_code == 2, result.output
        assert "quantized: bitsandbytes" in " ".join(result.stderr.split())
