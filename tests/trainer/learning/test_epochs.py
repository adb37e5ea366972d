"""`--epochs` reads every sample as often as asked, and `--early-stop-patience` ends a run and keeps its best checkpoint."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import Result

from trainer import data
from trainer.learning.early_stop import Best
from trainer.models.tokenizer import ByteTokenizer
from trainer.survival import checkpoint

Settings = dict[str, dict[str, Any]]
Call = Callable[..., Result]


@pytest.mark.parametrize("offset", [0, 5])
def test_two_epochs_read_every_sample_twice(
    settings: Settings,
    write_config: Callable[[Any], Path],
    records: Callable[[Path], list[dict[str, Any]]],
    call: Call,
    text_file: Path,
    tmp_path: Path,
    offset: int,
) -> None:
    settings["training"] |= {"epochs": 2, "batch_size": 64}
    settings["data"] |= {"eval_fraction": 0, "dataset_start_offset": offset, "linear_dataset": True}
    del settings["training"]["steps"]
    done = call("train", "--config", write_config(settings))
    assert done.exit_code == 0, done.output
    log = records(tmp_path / "out" / "metrics.jsonl")
    stream = data.stream_of(text_file.read_bytes(), ByteTokenizer(), 32)
    samples = 2 * stream.blocks - offset
    steps = -(-samples // 64)
    assert samples % 64, "the last step is shorter"
    trained = [record for record in log if record["event"] == "train"]
    assert [record["step"] for record in trained] == [*range(1, steps + 1)]
    once = stream.batch(np.arange(stream.blocks)).valid_tokens()
    skipped = stream.batch(np.arange(offset)).valid_tokens()
    assert sum(record["tokens"] for record in trained) == 2 * once - skipped
    assert trained[-1]["lr"] == pytest.approx(1e-4), "the schedule ends with the last step"
    assert log[0]["config"]["training"]["steps"] == steps
    again = call("train", "--config", write_config(settings), "--resume")
    assert again.exit_code == 0, again.output
    assert "changed since the checkpoint" not in again.stderr


def test_a_number_of_steps_replaces_the_epochs_of_a_file(
    settings: Settings, write_config: Callable[[Any], Path], call: Call, tmp_path: Path
) -> None:
    settings["training"]["epochs"] = 3
    assert call("train", "--config", write_config(settings), "--steps", 2).exit_code == 0
    assert (tmp_path / "out" / "checkpoints" / "step-00000002").is_dir()


def test_the_best_checkpoint_is_kept_and_used(
    settings: Settings,
    write_config: Callable[[Any], Path],
    records: Callable[[Path], list[dict[str, Any]]],
    call: Call,
    tmp_path: Path,
) -> None:
    settings["training"] |= {
        "steps": 20,
        "eval_every": 1,
        "learning_rate": 0.5,  # far too high: the loss rises
        "early_stop_patience": 3,
        "keep_checkpoints": 1,
    }
    done = call("train", "--config", write_config(settings))
    assert done.exit_code == 0, done.output
    log = records(tmp_path / "out" / "metrics.jsonl")
    held_out = {record["step"]: record["loss"] for record in log if record["event"] == "eval"}
    best = min(held_out, key=held_out.__getitem__)
    last = max(held_out)
    assert last == best + 3 < 20
    assert log[-1]["completed"] is True
    [stop] = [record for record in log if record["event"] == "early_stop"]
    assert (stop["step"], stop["best_step"], stop["best_loss"]) == (last, best, held_out[best])
    folder = tmp_path / "out" / "checkpoints"
    assert [path.name for path in sorted(folder.glob("step-*"))] == [
        f"step-{step:08d}" for step in (best, last)
    ]
    said: list[str] = []
    assert checkpoint.find(tmp_path / "out", said.append) == folder / f"step-{best:08d}"
    assert "lowest held-out loss" in said[0]
    again = call("train", "--config", write_config(settings), "--resume")
    assert again.exit_code == 0, again.output
    assert [path.name for path in sorted(folder.glob("step-*"))][-1] == f"step-{last:08d}"


def test_evaluations_without_improvement_are_counted() -> None:
    best = Best().after(2.0, 10).after(2.5, 20).after(2.0, 30)
    assert best == Best(2.0, 10, 2)
    assert best.after(1.0, 40) == Best(1.0, 40, 0)
    assert Best().after(float("nan"), 10) == Best(worse=1)


@pytest.mark.parametrize(
    ("changes", "words"),
    [({"eval_fraction": 0}, "needs held-out text"), ({}, "needs training.eval_every")],
)
def test_early_stopping_needs_evaluations(
    settings: Settings,
    write_config: Callable[[Any], Path],
    call: Call,
    changes: dict[str, Any],
    words: str,
) -> None:
    settings["data"] |= changes
    settings["training"] |= {"early_stop_patience": 1, "eval_every": 500 if changes else 0}
    done = call("train", "--config", write_config(settings))
    assert done.exit_code == 2
    assert words in " ".join(done.stderr.split())
