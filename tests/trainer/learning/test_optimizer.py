"""Optimizers: compared with references, trained, saved and resumed."""

from __future__ import annotations

import importlib
import json
import math
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from transformers import AutoConfig, AutoModelForCausalLM
from typer.testing import Result

from trainer.config import TrainingSection
from trainer.config.sections import OptimizerName
from trainer.errors import UserError
from trainer.learning.optimizer import load_state_tensors, make_optimizer, state_tensors

Settings = dict[str, dict[str, Any]]
WriteConfig = Callable[[Any], Path]
Call = Callable[..., Result]
Records = Callable[[Path], list[dict[str, Any]]]
PACKAGES = {"adamw": "torch", "muon": "torch", "adamw_8bit": "bitsandbytes"}


@pytest.fixture(params=PACKAGES)
def name(request: pytest.FixtureRequest) -> str:
    pytest.importorskip(PACKAGES[request.param])
    if request.param == "muon" and not hasattr(torch.optim, "Muon"):
        pytest.skip("torch.optim.Muon came with torch 2.9")
    return str(request.param)


@pytest.fixture
def muon() -> OptimizerName:
    if not hasattr(torch.optim, "Muon"):
        pytest.skip("torch.optim.Muon came with torch 2.9")
    return "muon"


def network(kind: str = "gpt2", width: int = 64) -> Any:
    torch.manual_seed(0)
    sizes = {
        "gpt2": {"n_layer": 1, "n_head": 2, "n_embd": width, "n_positions": 16},
        "llama": {"num_hidden_layers": 1, "hidden_size": width, "intermediate_size": 2 * width}
        | {"num_attention_heads": 2, "num_key_value_heads": 1, "tie_word_embeddings": False},
    }[kind]
    config = AutoConfig.for_model(kind, vocab_size=64, bos_token_id=0, eos_token_id=0, **sizes)
    return AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval()


def take_steps(model: Any, optimizer: torch.optim.Optimizer, count: int, first: int = 0) -> None:
    for step in range(first, first + count):
        tokens = torch.randint(0, 64, (2, 16), generator=torch.Generator().manual_seed(step))
        model(input_ids=tokens, labels=tokens).loss.backward()
        optimizer.step()
        optimizer.zero_grad()


def names(model: Any, optimizer: torch.optim.Optimizer) -> list[tuple[set[str], float]]:
    """The parameters of each group, and their weight decay."""
    called = {parameter: name for name, parameter in model.named_parameters()}
    return [({called[p] for p in group["params"]}, group["weight_decay"]) for group in optimizer.param_groups]


@pytest.mark.parametrize("kind", ["gpt2", "llama"])
def test_matrices_inside_the_model_get_the_configured_optimizer_and_all_others_adamw(
    muon: OptimizerName, kind: str
) -> None:
    model = network(kind)
    inner, tables, vectors = names(model, make_optimizer(model, TrainingSection(optimizer=muon)))
    outer = {"wte", "wpe"} if kind == "gpt2" else {"embed_tokens", "lm_head"}
    assert {name.split(".")[-2] for name in tables[0]} == outer
    assert all(".h.0." in name or ".layers.0." in name for name in inner[0])
    shapes = {name: parameter.ndim for name, parameter in model.named_parameters()}
    assert {name for name, dimensions in shapes.items() if dimensions == 1} == vectors[0]
    assert inner[0] | tables[0] | vectors[0] == set(shapes)
    assert (inner[1], tables[1], vectors[1]) == (0.1, 0.1, 0.0)


def orthogonalized(matrix: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Five Newton-Schulz steps with the coefficients of Jordan et al. 2024, in float64."""
    x = matrix / np.linalg.norm(matrix)
    for _ in range(5):
        square = x @ x.T
        x = 3.4445 * x + (-4.7750 * square + 2.0315 * square @ square) @ x
    return x


@pytest.mark.parametrize("kind", ["gpt2", "llama"])
def test_muon_takes_the_steps_of_its_paper(muon: OptimizerName, kind: str) -> None:
    """Momentum, Nesterov, Newton-Schulz, the step size of Liu et al. 2025, and decoupled weight decay."""
    model, rate, decay = network(kind), 0.01, 10.0
    matrices = make_optimizer(model, TrainingSection(optimizer=muon, lr=rate)).param_groups[0]
    optimizer = make_optimizer(model, TrainingSection(optimizer=muon, lr=rate, weight_decay=decay))
    before = [p.detach().double().numpy().copy() for p in matrices["params"]]
    weights = [*before]
    momenta = [np.zeros_like(weight) for weight in weights]
    for step in range(3):
        tokens = torch.randint(0, 64, (2, 16), generator=torch.Generator().manual_seed(step))
        model(input_ids=tokens, labels=tokens).loss.backward()
        for i, parameter in enumerate(matrices["params"]):
            gradient = parameter.grad.double().numpy()
            momenta[i] = 0.95 * momenta[i] + 0.05 * gradient
            update = orthogonalized(0.05 * gradient + 0.95 * momenta[i])
            size = 0.2 * math.sqrt(max(update.shape))
            weights[i] = weights[i] * (1 - rate * decay) - rate * size * update
        optimizer.step()
        optimizer.zero_grad()
    for parameter, weight, start in zip(matrices["params"], weights, before, strict=True):
        off = np.linalg.norm(weight - parameter.detach().numpy()) / np.linalg.norm(weight - start)
        assert off < 0.1  # torch orthogonalizes in bfloat16


def test_adamw_takes_the_steps_of_its_paper() -> None:
    settings = TrainingSection(adam_beta1=0.8, adam_beta2=0.9, adam_epsilon=1e-3, lr=0.01)
    model = network()
    optimizer = make_optimizer(model, settings)
    parameter = model.transformer.h[0].mlp.c_fc.weight
    weight = parameter.detach().double().numpy().copy()
    first, second = np.zeros_like(weight), np.zeros_like(weight)
    for step in range(1, 4):
        tokens = torch.randint(0, 64, (2, 16), generator=torch.Generator().manual_seed(step))
        model(input_ids=tokens, labels=tokens).loss.backward()
        gradient = parameter.grad.double().numpy()
        first, second = 0.8 * first + 0.2 * gradient, 0.9 * second + 0.1 * gradient**2
        scaled = (first / (1 - 0.8**step)) / (np.sqrt(second / (1 - 0.9**step)) + 1e-3)
        weight = weight - 0.01 * (0.1 * weight + scaled)
        optimizer.step()
        optimizer.zero_grad()
    assert parameter.detach().numpy() == pytest.approx(weight, abs=1e-6)


def test_8_bit_steps_are_close_to_32_bit_ones_with_a_quarter_of_the_state() -> None:
    pytest.importorskip("bitsandbytes")
    both: tuple[OptimizerName, ...] = ("adamw", "adamw_8bit")
    models = {name: network(width=128) for name in both}
    sizes: dict[str, int] = {}
    for name, model in models.items():
        optimizer = make_optimizer(model, TrainingSection(optimizer=name, lr=1e-3))
        take_steps(model, optimizer, 5)
        weight = model.transformer.h[0].mlp.c_fc.weight
        state: dict[str, Tensor] = optimizer.state[weight]
        large = [
            slot for slot in state.values() if isinstance(slot, Tensor) and slot.numel() == weight.numel()
        ]
        sizes[name] = sum(slot.nbytes for slot in large)
        assert len(large) == 2
    assert sizes["adamw_8bit"] * 4 == sizes["adamw"]
    exact, rounded = (model.transformer.h[0].mlp.c_fc.weight for model in models.values())
    moved = (exact - network(width=128).transformer.h[0].mlp.c_fc.weight).abs().mean()
    assert (exact - rounded).abs().mean() < 0.1 * moved
    table, same = (model.transformer.wte.weight for model in models.values())
    assert torch.allclose(table, same, atol=2e-4)  # in 32 bits in both


def test_state_is_restored_bit_equal(name: str) -> None:
    settings = TrainingSection(optimizer=name)  # type: ignore[arg-type]
    whole, halved = network(), network()
    take_steps(whole, make_optimizer(whole, settings), 4)
    before = make_optimizer(halved, settings)
    take_steps(halved, before, 2)
    kept = {key: tensor.clone() for key, tensor in state_tensors(before).items()}
    after = make_optimizer(halved, settings)
    load_state_tensors(after, kept)
    for parameter, slots in before.state.items():
        for slot, value in slots.items():
            assert type(after.state[parameter][slot]) is type(value)
    take_steps(halved, after, 2, first=2)
    for expected, found in zip(whole.parameters(), halved.parameters(), strict=True):
        assert torch.equal(expected, found)


def test_a_resumed_run_is_bit_equal(
    name: str, settings: Settings, write_config: WriteConfig, call: Call, records: Records, tmp_path: Path
) -> None:
    settings["model"]["architecture"]["n_embd"] = 64  # 8-bit state begins at 4096 weights
    settings["training"] |= {"optimizer": name, "schedule": "wsd", "warmup_steps": 2}
    config = write_config(settings)
    parts = ("train", "--config", config, "--output-dir", tmp_path / "in parts")
    assert call("train", "--config", config).exit_code == 0
    assert call(*parts, "--checkpoint-every", 3).exit_code == 0
    for newest in (tmp_path / "in parts" / "checkpoints").glob("step-00000006*"):
        (newest / "model.safetensors").unlink()
    result = call(*parts, "--resume")
    assert result.exit_code == 0, result.output
    assert "resuming from" in result.stderr
    whole, resumed = (
        {r["step"]: (r["loss"], r["lr"]) for r in records(folder / "metrics.jsonl") if r["event"] == "train"}
        for folder in (tmp_path / "out", tmp_path / "in parts")
    )
    assert whole == resumed


def test_each_optimizer_learns(
    name: str, settings: Settings, write_config: WriteConfig, call: Call, records: Records, tmp_path: Path
) -> None:
    settings["model"]["architecture"]["n_embd"] = 64
    settings["training"] |= {"optimizer": name, "steps": 60, "learning_rate": 3e-3, "batch_size": 4}
    result = call("train", "--config", write_config(settings))
    assert result.exit_code == 0, result.output
    losses = [r["loss"] for r in records(tmp_path / "out" / "metrics.jsonl") if r["event"] == "train"]
    assert losses[0] > 5
    assert np.mean(losses[-5:]) < 2
    state = json.loads((tmp_path / "out" / "checkpoints" / "step-00000060" / "state.json").read_text("utf-8"))
    assert state["config"]["training"]["optimizer"] == name


def test_another_optimizer_is_refused_when_resuming(
    settings: Settings, write_config: WriteConfig, call: Call, muon: OptimizerName
) -> None:
    config = write_config(settings)
    assert call("train", "--config", config).exit_code == 0
    result = call("train", "--config", config, "--resume", "--optimizer", muon, "--steps", 8)
    assert result.exit_code == 2
    assert "training.optimizer differs from the checkpoint" in result.stderr


def test_another_schedule_when_resuming_gives_a_warning(
    settings: Settings, write_config: WriteConfig, call: Call
) -> None:
    config = write_config(settings)
    assert call("train", "--config", config).exit_code == 0
    result = call("train", "--config", config, "--resume", "--schedule", "constant", "--steps", 8)
    assert result.exit_code == 0, result.output
    assert "training.schedule changed since the checkpoint: was 'cosine', now 'constant'" in result.stderr
    assert "training.steps" not in result.stderr, "a complete run is resumed for more steps"


def test_a_wsd_run_extended_before_its_decay_equals_the_longer_run(
    settings: Settings, write_config: WriteConfig, call: Call, records: Records, tmp_path: Path
) -> None:
    settings["training"] |= {"schedule": "wsd", "decay_fraction": 0.4, "steps": 10, "checkpoint_every": 6}
    config = write_config(settings)
    assert call("train", "--config", config).exit_code == 0
    shutil.rmtree(tmp_path / "out" / "checkpoints" / "step-00000010")
    assert call("train", "--config", config, "--resume", "--steps", 15).exit_code == 0
    straight = ("train", "--config", config, "--steps", 15, "--output-dir", tmp_path / "straight")
    assert call(*straight).exit_code == 0
    longer, expected = (
        [(r["loss"], r["lr"]) for r in records(tmp_path / name / "metrics.jsonl") if r["event"] == "train"]
        for name in ("out", "straight")
    )
    assert len(longer) == 15
    assert longer == expected


def test_without_bitsandbytes_8_bit_adamw_is_refused_with_advice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "bitsandbytes.optim.adamw", None)
    with pytest.raises(
        UserError, match=r"needs bitsandbytes, which cannot be imported .*\n  .*\[bitsandbytes\]"
    ):
        make_optimizer(network(), TrainingSection(optimizer="adamw_8bit"))


def test_a_bitsandbytes_that_does_not_support_the_device_is_refused_with_its_reason(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pytest.importorskip("bitsandbytes")

    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("the library was built without this device\nand more")

    monkeypatch.setattr(importlib.import_module("bitsandbytes.optim").AdamW8bit, "step", fail)
    with pytest.raises(
        UserError, match=r"does not work on cpu: the library was built without this device\. "
    ):
        make_optimizer(network(), TrainingSection(optimizer="adamw_8bit"))


def test_a_torch_without_muon_is_refused_with_advice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(torch.optim, "Muon", raising=False)
    with pytest.raises(UserError, match=r"requires torch 2\.9 or newer, but torch"):
        make_optimizer(network(), TrainingSection(optimizer="muon"))


def test_a_gradient_scaler_skips_non_finite_steps(name: str) -> None:
    model = network()
    optimizer = make_optimizer(model, TrainingSection(optimizer=name))  # type: ignore[arg-type]
    scaler = torch.amp.GradScaler("cpu", init_scale=4.0)
    before = [parameter.clone() for parameter in model.parameters()]
    scaler.scale(model(input_ids=torch.arange(16)[None]).logits.sum() * float("inf")).backward()
    scaler.unscale_(optimizer)
    scaler.step(optimizer)
    scaler.update()
    assert scaler.get_scale() == 2.0
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))
