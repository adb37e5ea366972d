"""The memory estimate: compared with what a fresh process then uses, and with what the machine has."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from typer.testing import Result

from trainer.config import TrainingSection
from trainer.data import Batch
from trainer.learning.objective import Part
from trainer.models.tokenizer import ByteTokenizer
from trainer.survival import preflight
from trainer.survival.memory_estimate import OVERHEAD, MemoryEstimate, estimate
from trainer.survival.preflight import Preflight

ROOT = Path(__file__).parents[3]
Settings = dict[str, dict[str, Any]]
WriteConfig = Callable[[Any], Path]
Call = Callable[..., Result]
Records = Callable[[Path], list[dict[str, Any]]]
CPU = torch.device("cpu")

LLAMA_8B = {
    "model_type": "llama",
    "architectures": ["LlamaForCausalLM"],
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "vocab_size": 128256,
    "max_position_embeddings": 131072,
    "bos_token_id": 0,
    "eos_token_id": 0,
}


class Squares:
    """A loss whose memory can be counted by hand: one linear layer, squared."""

    def __init__(self, layer: nn.Linear) -> None:
        self.layer = layer

    def parts(self, batch: Batch) -> Any:
        x = torch.ones(*batch.tokens.shape, self.layer.in_features)
        yield Part(self.layer(x).square().sum())


@pytest.mark.parametrize(("kind", "bytes_each"), [("adamw", 8), ("muon", 4), ("adamw_8bit", 2)])
def test_the_estimate_equals_a_count_by_hand(
    monkeypatch: pytest.MonkeyPatch, kind: Any, bytes_each: int
) -> None:
    monkeypatch.setattr(nn.Linear, "get_output_embeddings", lambda self: None, raising=False)

    def build() -> Any:
        layer = nn.Linear(100, 50, bias=False)
        return layer, Squares(layer)

    found = estimate(build, TrainingSection(optimizer=kind), CPU, (4, 25), packed=False)
    assert found.activations is not None
    numbers = 100 * 50
    assert (found.weights, found.gradients, found.state) == (numbers * 4, numbers * 4, numbers * bytes_each)
    # Tokens; the layer's input, its output and that one's gradient, the square and its intermediate results in backward.
    tokens, goes_in, comes_out = 100 * 8, 100 * 100 * 4, 100 * 50 * 4
    counted = found.activations - OVERHEAD["cpu"]
    assert tokens + goes_in + comes_out <= counted + found.gradients <= tokens + goes_in + 6 * comes_out


def test_full_training_of_an_8b_model_is_refused_on_16_gb_before_anything_is_loaded(
    settings: Settings, write_config: WriteConfig, call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "8b"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(LLAMA_8B), encoding="utf-8")
    ByteTokenizer().save(folder)
    settings["model"] = {"name": str(folder), "from_scratch": True}
    real = preflight.of_step

    def with_16_gb(*arguments: Any) -> Preflight:
        return Preflight(real(*arguments).estimate, 16 * 10**9, 0, "cuda:0")

    monkeypatch.setattr(preflight, "of_step", with_16_gb)
    result = call("train", "--config", write_config(settings))
    assert result.exit_code == 2, result.output
    assert "A step needs about 119" in result.stderr
    assert "cuda:0 has 14.9 GiB free" in result.stderr
    assert "--use-peft" in result.stderr
    assert "--force" in result.stderr
    assert not (tmp_path / "out").exists()


def test_a_run_that_does_not_fit_is_refused_with_advice_unless_forced(
    settings: Settings,
    write_config: WriteConfig,
    call: Call,
    records: Records,
    tmp_path: Path,
    monkeypatch: Any,
) -> None:
    little = Preflight(MemoryEstimate(2 << 20, 2 << 20, 4 << 20, 60 << 20), 50 << 20, 0, "this machine")
    monkeypatch.setattr(preflight, "of_step", lambda *arguments: little)
    config = write_config(settings)
    refused = call("train", "--config", config)
    assert refused.exit_code == 2
    assert "A step needs about 68 MiB of memory, but this machine has 50 MiB free" in refused.stderr
    assert "--gradient-checkpointing" in refused.stderr
    assert call("train", "--config", config, "--force").exit_code == 0
    kept = records(tmp_path / "out" / "metrics.jsonl")[0]["memory"]
    assert kept["need"]["activations"] == 60 << 20
    assert kept["free"] == 50 << 20


def test_the_estimate_is_printed_and_draws_no_random_numbers(
    settings: Settings,
    write_config: WriteConfig,
    call: Call,
    records: Records,
    tmp_path: Path,
    monkeypatch: Any,
) -> None:
    result = call("train", "--config", write_config(settings))
    assert "INFO: memory: a step needs about 4" in result.stderr
    unknown = Preflight(None, 1, 0, "this machine")
    monkeypatch.setattr(preflight, "of_step", lambda *arguments: unknown)
    other = call("train", "--config", write_config(settings), "--output-dir", tmp_path / "other")
    assert "no memory estimate" in other.stderr
    losses = [
        [
            record["loss"]
            for record in records(tmp_path / name / "metrics.jsonl")
            if record["event"] == "train"
        ]
        for name in ("out", "other")
    ]
    assert losses[0] == losses[1]


GPT2 = {
    "model_type": "gpt2",
    "n_layer": 4,
    "n_head": 6,
    "n_embd": 384,
    "n_positions": 1024,
    "vocab_size": 12000,
}
LLAMA = {
    "model_type": "llama",
    "num_hidden_layers": 4,
    "hidden_size": 256,
    "intermediate_size": 688,
    "num_attention_heads": 8,
    "num_key_value_heads": 4,
    "max_position_embeddings": 2048,
    "vocab_size": 4000,
}


@pytest.mark.skipif(sys.platform != "linux", reason="measures as Linux does")
@pytest.mark.parametrize(
    ("architecture", "batch", "length", "arguments"),
    [
        (GPT2, 2, 256, []),
        pytest.param(GPT2, 8, 256, [], marks=pytest.mark.long),
        pytest.param(GPT2, 4, 512, ["--gradient-checkpointing"], marks=pytest.mark.slow),
        pytest.param(LLAMA, 8, 1024, ["--gradient-checkpointing"], marks=pytest.mark.long),
        pytest.param({**GPT2, "resid_pdrop": 0.1, "attn_pdrop": 0.1}, 2, 512, [], marks=pytest.mark.long),
        pytest.param(LLAMA, 4, 512, [], marks=pytest.mark.slow),
        pytest.param(LLAMA, 2, 1024, ["--window-size", "256"], marks=pytest.mark.slow),
        pytest.param(LLAMA, 1, 1024, ["--optimizer", "muon"], marks=pytest.mark.long),
    ],
    ids=[
        "gpt2",
        "gpt2-batch",
        "gpt2-checkpointed",
        "llama-checkpointed",
        "gpt2-dropout",
        "llama",
        "llama-window",
        "llama-muon",
    ],
)
def test_the_estimate_is_within_a_fifth_of_the_measured_peak(
    settings: Settings,
    write_config: WriteConfig,
    records: Records,
    tmp_path: Path,
    architecture: dict[str, Any],
    batch: int,
    length: int,
    arguments: list[str],
) -> None:
    """Each run is measured in a fresh process started from the command line."""
    none = {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0} if architecture is GPT2 else {}
    settings["model"]["architecture"] = none | architecture
    settings["data"] |= {"max_length": length, "eval_fraction": 0}
    settings["training"] |= {"batch_size": batch, "steps": 4}
    done = subprocess.run(
        [sys.executable, ROOT / "aios.py", "train", "--config", write_config(settings), *arguments],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    found = records(tmp_path / "out" / "metrics.jsonl")
    memory = found[0]["memory"]
    [*_, last] = [record for record in found if record["event"] == "train"]
    measured = last["peak_memory_bytes"] - memory["used"]
    assert sum(memory["need"].values()) == pytest.approx(measured, rel=0.2)


def test_a_step_that_cannot_be_taken_without_data_does_not_end_the_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """torch's grouped product of experts raised a RuntimeError on fake tensors, which ended every run."""

    def fails(*arguments: Any) -> Any:
        raise RuntimeError("Expected inputs of BF16 type")

    monkeypatch.setattr(torch.autograd, "backward", fails)
    monkeypatch.setattr(nn.Linear, "get_output_embeddings", lambda self: None, raising=False)

    def build() -> Any:
        layer = nn.Linear(10, 10, bias=False)
        return layer, Squares(layer)

    found = estimate(build, TrainingSection(), CPU, (4, 25), packed=False)
    assert (found.weights, found.activations) == (400, None)
    said: list[str] = []
    Preflight(found, 1 << 40, 0, "cpu").check(said.append, force=False)
    assert "at least" in said[0]
    assert "the activations cannot be estimated" in said[1]


def test_the_memory_of_experts_is_estimated(
    settings: Settings, write_config: WriteConfig, call: Call
) -> None:
    settings["model"]["architecture"] = {
        "model_type": "mixtral",
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "num_local_experts": 4,
    }
    settings["training"]["steps"] = 1
    result = call("train", "--config", write_config(settings))
    assert result.exit_code == 0, result.output
    assert "INFO: memory: a step needs about" in result.stderr
