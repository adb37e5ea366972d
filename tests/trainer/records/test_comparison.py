"""`aios runs compare`: what differs between two runs, and their losses after the same steps."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import Result

from trainer.records import comparison, reading

Call = Callable[..., Result]


def write(folder: Path, losses: list[float], evaluations: dict[int, float], **training: Any) -> Path:
    """A run that trained for as many steps as there are losses, 64 tokens each."""
    config = {
        "model": {"name": "base", "use_peft": True},
        "training": {"steps": len(losses), "learning_rate": 1e-3, **training},
        "output": {"output_dir": str(folder)},
    }
    known = {"schema_version": 1, "ts": "2026-11-30T12:00:00.000Z"}
    rows: list[dict[str, Any]] = [
        {
            "event": "run_start",
            "step": 0,
            "resumed_from": None,
            "config": config,
            "versions": {"torch": "2.13"},
        }
    ]
    for step, loss in enumerate(losses, start=1):
        rows.append({"event": "train", "step": step, "loss": loss, "tokens": 64, "tokens_per_second": 100.0})
        if step in evaluations:
            rows.append({"event": "eval", "step": step, "loss": evaluations[step], "bits_per_byte": 1.0})
    rows.append({"event": "run_end", "step": len(losses), "completed": True, "tokens_per_second": 100.0})
    folder.mkdir()
    text = "".join(json.dumps(known | row) + "\n" for row in rows)
    (folder / "metrics.jsonl").write_text(text, encoding="utf-8", newline="\n")
    return folder


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    a = write(tmp_path / "a ß", [4.0, 3.0, 2.0, 1.0], {2: 3.5, 4: 2.5})
    b = write(tmp_path / "b", [5.0] * 8, {4: 2.0, 8: 3.0}, learning_rate=1e-4, seed=7)
    return a, b


def test_settings_figures_and_curves_are_compared(pair: tuple[Path, Path], call: Call) -> None:
    result = call("runs", "compare", *pair, "--json")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert found["configuration"] == {
        "training.learning_rate": [1e-3, 1e-4],
        "training.seed": [None, 7],
        "training.steps": [4, 8],
    }
    assert found["lowest_held_out_loss"] == [2.5, 2.0]
    assert [run["step"] for run in found["runs"]] == [4, 8]
    by_step = {point["step"]: point for point in found["curves"]}
    assert [*by_step] == [1, 2, 3, 4, 5, 6, 7, 8]
    assert by_step[4] == {
        "step": 4,
        "tokens": [256, 256],
        "loss": [1.0, 5.0],
        "held_out_loss": [2.5, 2.0],
    }
    assert by_step[8] == {
        "step": 8,
        "tokens": [None, 512],
        "loss": [None, 5.0],
        "held_out_loss": [None, 3.0],
    }


def test_a_curve_has_ten_points_of_averages(tmp_path: Path) -> None:
    runs = [reading.find(write(tmp_path / name, [float(i) for i in range(100)], {}))[0] for name in "ab"]
    points = comparison.compare(runs[0], runs[1]).points
    assert [point.step for point in points] == [*range(10, 101, 10)]
    assert points[0].loss == (4.5, 4.5)
    assert points[-1].loss == (94.5, 94.5)


def test_the_comparison_is_printed(pair: tuple[Path, Path], call: Call) -> None:
    result = call("runs", "compare", *pair)
    assert result.exit_code == 0, result.output
    lines = [line.split() for line in result.stdout.splitlines()]
    assert ["training.learning_rate", "0.001", "0.0001"] in lines
    assert ["lowest", "held-out", "loss", "2.5000", "2.0000"] in lines
    assert ["8", "-", "5.0000"] in lines


def test_folders_are_listed_without_naming_the_command(pair: tuple[Path, Path], call: Call) -> None:
    folder = pair[0].parent
    named, plain = call("runs", "list", folder, "--json"), call("runs", folder, "--json")
    assert named.exit_code == 0
    assert named.stdout == plain.stdout
    assert len(json.loads(plain.stdout)["runs"]) == 2
    missing = call("runs", "compare", folder / "none", folder)
    assert (missing.exit_code, "does not exist" in missing.stderr) == (2, True)
