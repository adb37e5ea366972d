"""Two measured steps calibrate a plan."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import Result

from tests.trainer.planning.test_plan import SIZES, Counted
from trainer.config import TrainConfig
from trainer.errors import RunError
from trainer.planning import calibration, step
from trainer.planning.calibration import Calibration, fit
from trainer.planning.planned_model import read
from trainer.planning.step import StepMemory
from trainer.survival.memory_estimate import OVERHEAD, MemoryEstimate

Call = Callable[..., Result]
MIB = 1 << 20
CPU = torch.device("cpu")


def test_the_line_through_two_steps() -> None:
    found = fit((50 * MIB, 200 * MIB), (95 * MIB, 260 * MIB))
    assert found.factor == pytest.approx(1.1)
    assert found.fixed == pytest.approx(40 * MIB, abs=10)
    estimate = MemoryEstimate(5, 6, 7, 100 * MIB + OVERHEAD["cpu"], logits=10 * MIB, carry=3, host=2)
    calibrated = found.apply(estimate, CPU)
    assert calibrated.activations == pytest.approx(150 * MIB, abs=20)
    assert calibrated.logits == pytest.approx(11 * MIB, abs=10)
    assert (calibrated.counted, calibrated.carry, calibrated.host) == (18, 3, 2)
    unknown = MemoryEstimate(5, 6, 7, None)
    assert Calibration(1.1, 40).apply(unknown, CPU) == unknown


@pytest.mark.parametrize("measured", [(95, 96), (95, 5000), (95, 20)])
def test_a_measurement_that_is_not_credible_is_refused(measured: tuple[int, int]) -> None:
    with pytest.raises(RunError, match="not credible"):
        fit((50 * MIB, 200 * MIB), (measured[0] * MIB, measured[1] * MIB))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "a model ß.json"
    sizes = SIZES | {"model_type": "llama", "num_hidden_layers": 3, "hidden_size": 256, "head_dim": 64}
    path.write_text(json.dumps(sizes), encoding="utf-8")
    return path


@pytest.mark.slow
def test_two_measured_steps_are_as_planned(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[int, int]] = []
    real = calibration._measure

    def measure(config: TrainConfig, small: Any) -> int:
        found = real(config, small)
        asked.append((small(config).total, found))
        return found

    monkeypatch.setattr(calibration, "_measure", measure)
    config = TrainConfig.model_validate({"model": {"name": str(file)}, "data": {"max_length": 256}})
    calibrated = calibration.calibrate(config, StepMemory(read(str(file)), CPU))
    assert len(asked) == 2
    for planned, found in asked:
        assert planned == pytest.approx(found, rel=0.4)  # of a tiny model, mostly what libraries allocate
    assert 0.5 < calibrated.calibration.factor < 2


def test_a_calibrated_plan_says_so(call: Call, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    counted: Any = Counted(4096)
    counted.device = CPU
    monkeypatch.setattr(step, "StepMemory", lambda config, device: counted)
    found = calibration.Calibrated(counted, Calibration(2.0, 7 * MIB))
    monkeypatch.setattr(calibration, "calibrate", lambda config, step: found)
    plain, calibrated = (
        json.loads(call("plan", "--model", file, "--device", "cpu", "--json", *more).stdout)
        for more in ((), ("--measure",))
    )
    result = call("plan", "--model", file, "--device", "cpu", "--measure")
    assert "calibrated by two measured steps: 2.00 times the tensors of a step, and 7 MiB" in result.stderr
    before, after = (document["settings"][0]["memory"]["activations"] for document in (plain, calibrated))
    assert after == 2 * max(0, before - OVERHEAD["cpu"]) + 7 * MIB


def test_a_device_that_is_only_described_cannot_be_measured(call: Call, file: Path) -> None:
    result = call("plan", "--model", file, "--vram", 12, "--measure")
    assert result.exit_code == 2
    assert "--vram describes another one" in result.stderr


def test_a_step_that_fails_is_explained(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calibration, "TENSORS", 1)
    monkeypatch.setattr(
        calibration, "COMMAND", (calibration.COMMAND[0], "-c", "raise SystemExit('no memory')")
    )
    config = TrainConfig.model_validate({"model": {"name": str(file)}})
    with pytest.raises(RunError, match=r"could not be measured: no memory Plan without --measure"):
        calibration.calibrate(config, StepMemory(read(str(file)), CPU))
