"""torch.compile in a run: the same losses, what it gained, and what happens where it does not work."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from typer.testing import Result

from trainer.errors import RunError
from trainer.learning.compilation import Compilation, Gain

Settings = dict[str, dict[str, Any]]
Records = Callable[[Path], list[dict[str, Any]]]
CPU = torch.device("cpu")
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of torch's own code


class Model(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(3, 3) for _ in range(2))
        self.weights = nn.Parameter(torch.zeros(1))


def compilation(
    model: nn.Module, wanted: bool = True, eager_steps: int = 3
) -> tuple[Compilation, list[Gain]]:
    said: list[Gain] = []
    return Compilation(model, CPU, said.append, wanted, eager_steps), said


def take(steps: Compilation, compute: Callable[[], float], rate: float) -> float:
    result = steps.step(compute)
    steps.took(2.0, rate)
    return result


def test_blocks_are_compiled_after_eager_steps_and_the_gain_is_that_of_median_steps() -> None:
    model = Model()
    steps, said = compilation(model)
    for rate in (1.0, 10.0, 20.0):
        take(steps, lambda: 0.0, rate)
        assert all(layer._compiled_call_impl is None for layer in model.layers)
    for rate in (1.0, 2.0, 40.0, 30.0, 50.0):
        assert not said
        take(steps, lambda: 0.0, rate)
        assert all(layer._compiled_call_impl is not None for layer in model.layers)
    assert said == [Gain(15.0, 40.0, 2.0)]
    assert "40 instead of 15 tokens/s, 2.67 times" in str(said[0])
    assert [*model.state_dict()] == [*Model().state_dict()]  # names of weights stay


def test_nothing_is_compiled_unless_it_is_wanted() -> None:
    model = Model()
    steps, said = compilation(model, wanted=False)
    for _ in range(9):
        take(steps, lambda: 0.0, 1.0)
    assert not said and all(layer._compiled_call_impl is None for layer in model.layers)


def test_a_step_that_does_not_compile_is_taken_again_with_the_same_random_numbers() -> None:
    model = Model()
    steps, said = compilation(model, eager_steps=0)
    drawn: list[float] = []

    def compute() -> float:
        model.weights.grad = torch.ones(1) if model.weights.grad is None else model.weights.grad + 1
        drawn.append(torch.rand(()).item())
        if model.layers[0]._compiled_call_impl is not None:
            raise ValueError("no compiler\nmore")
        return model.weights.grad.item()

    assert take(steps, compute, 1.0) == 1  # without the gradient of the failed attempt
    assert drawn[0] == drawn[1]
    assert [gain.error for gain in said] == ["no compiler"]
    assert take(steps, lambda: 5.0, 1.0) == 5
    assert len(said) == 1


@pytest.mark.parametrize("error", [RunError("disk"), torch.OutOfMemoryError("full")])
def test_errors_of_the_step_itself_are_not_those_of_a_compiler(error: Exception) -> None:
    steps, said = compilation(Model(), eager_steps=0)

    def fails() -> float:
        raise error

    with pytest.raises(type(error)):
        steps.step(fails)
    assert not said


def test_a_run_without_a_compiler_goes_on_with_a_recorded_warning(
    settings: Settings,
    write_config: Callable[[Any], Path],
    call: Callable[..., Result],
    records: Records,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from torch._inductor import config as inductor

    log = tmp_path / "out" / "metrics.jsonl"
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "inductor"))
    settings["training"]["compile"] = True
    with inductor.patch({"cpp.cxx": ("no-such-compiler",)}):
        result = call("train", "--config", write_config(settings))
    assert result.exit_code == 0, result.output
    assert "WARNING: torch.compile failed" in result.output
    [compiled] = (record for record in records(log) if record["event"] == "compile")
    assert compiled["error"] and compiled["eager_tokens_per_second"] > 0
    assert [record["step"] for record in records(log) if record["event"] == "train"] == [1, 2, 3, 4, 5, 6]


@pytest.mark.long  # in a process of its own: setuptools and other tests disagree about distutils
@pytest.mark.parametrize(
    "changes", [{}, {"gradient_checkpointing": True, "window_size": 5, "window_pattern": "SL"}]
)
def test_a_compiled_run_has_the_losses_of_an_eager_one(
    settings: Settings,
    changes: dict[str, Any],
    write_config: Callable[[Any], Path],
    call: Callable[..., Result],
    records: Records,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "inductor"))
    settings["model"] |= changes
    settings["model"]["architecture"] = {
        **{"model_type": "llama", "num_hidden_layers": 4, "hidden_size": 32, "intermediate_size": 64},
        **{"num_attention_heads": 2, "num_key_value_heads": 2, "max_position_embeddings": 64},
    }
    settings["training"] |= {"steps": 8, "eval_every": 0}
    losses = []
    torch._dynamo.utils.counters.clear()
    for compiled in (False, True):
        settings["training"]["compile"] = compiled
        settings["output"]["output_dir"] = str(tmp_path / f"compiled {compiled}")
        result = call("train", "--config", write_config(settings))
        assert result.exit_code == 0, result.output
        found = records(tmp_path / f"compiled {compiled}" / "metrics.jsonl")
        losses.append([record["loss"] for record in found if record["event"] in ("train", "eval")])
    assert losses[1] == pytest.approx(losses[0], rel=1e-4)
    [gain] = (record for record in found if record["event"] == "compile")
    assert gain["error"] is None and gain["compiled_tokens_per_second"] > 0
    graphs = torch._dynamo.utils.counters["stats"]["unique_graphs"]
    assert graphs == (
        4 if changes else 2
    )  # for each window in training and in evaluation, not for each layer
