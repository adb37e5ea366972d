"""Requests to stop a run: signals and the stop file. And one batch whose loss is NaN."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import Result

from trainer import stop
from trainer.data import Batch
from trainer.errors import UserError
from trainer.learning import loop
from trainer.learning import step as step_module
from trainer.learning.objective import NextToken, Part
from trainer.learning.step import StepResult
from trainer.stop import StopRequest
from trainer.survival import memory_estimate

Settings = dict[str, dict[str, Any]]
WriteConfig = Callable[[Any], Path]
Call = Callable[..., Result]
Records = Callable[[Path], list[dict[str, Any]]]


@pytest.fixture
def at_step(monkeypatch: pytest.MonkeyPatch) -> Callable[[int, Callable[[], None]], None]:
    """Call a function during a step."""

    def arrange(step: int, happen: Callable[[], None]) -> None:
        real, count = step_module.optimizer_step, iter(range(1, 999))

        def optimizer_step(*arguments: Any) -> StepResult:
            if next(count) == step:
                happen()
            return real(*arguments)

        monkeypatch.setattr(loop, "optimizer_step", optimizer_step)

    return arrange


@pytest.mark.parametrize("number", stop.SIGNALS, ids=lambda number: signal.Signals(number).name)
def test_a_signal_stops_the_run_after_the_current_step_with_a_checkpoint(
    settings: Settings,
    write_config: WriteConfig,
    call: Call,
    records: Records,
    tmp_path: Path,
    at_step: Any,
    number: int,
) -> None:
    at_step(3, lambda: signal.raise_signal(number))
    before = [signal.getsignal(one) for one in stop.SIGNALS]
    result = call("train", "--config", write_config(settings))
    assert result.exit_code == 130, result.output
    assert (tmp_path / "out" / "checkpoints" / "latest").read_text() == "step-00000003\n"
    [stopped] = [
        record for record in records(tmp_path / "out" / "metrics.jsonl") if record["event"] == "stopped"
    ]
    assert stopped["reason"].startswith(f"received {signal.Signals(number).name}")
    assert [signal.getsignal(one) for one in stop.SIGNALS] == before, "handlers are restored"


def test_the_handler_works_for_ctrl_break(monkeypatch: pytest.MonkeyPatch) -> None:
    """There is no console here to send it, so the handler is called as Windows would call it."""
    said: list[str] = []
    request = StopRequest(said.append)
    monkeypatch.setattr(stop, "SIGNALS", [signal.SIGTERM])  # stands for SIGBREAK, which only Windows has
    with request:
        assert not request.requested
        handler = signal.getsignal(signal.SIGTERM)
        assert callable(handler)
        handler(signal.SIGTERM, None)
        assert request.requested
        assert "after this step, with a checkpoint" in said[0]
        with pytest.raises(KeyboardInterrupt):
            handler(signal.SIGTERM, None)


def test_a_stop_file_stops_the_run_and_is_deleted(
    settings: Settings, write_config: WriteConfig, call: Call, records: Records, tmp_path: Path, at_step: Any
) -> None:
    file = tmp_path / "stop ß"
    at_step(2, file.touch)
    config = write_config(settings)
    result = call("train", "--config", config, "--stop-file", file)
    assert result.exit_code == 130, result.output
    assert "found the stop file" in result.stderr
    assert (tmp_path / "out" / "checkpoints" / "latest").read_text() == "step-00000002\n"
    assert not file.exists()
    resumed = call("train", "--config", config, "--stop-file", file, "--resume")
    assert resumed.exit_code == 0, resumed.output
    steps = [
        record["step"] for record in records(tmp_path / "out" / "metrics.jsonl") if record["event"] == "train"
    ]
    assert steps == [1, 2, 3, 4, 5, 6]


def test_an_existing_stop_file_is_refused_and_not_deleted(
    settings: Settings, write_config: WriteConfig, call: Call, tmp_path: Path
) -> None:
    file = tmp_path / "precious"
    file.write_text("content")
    with pytest.raises(UserError, match="already exists"):
        StopRequest(pytest.fail, file)
    result = call("train", "--config", write_config(settings), "--stop-file", file)
    assert result.exit_code == 2
    assert "Delete it, or name another" in " ".join(result.stderr.split())
    assert file.read_text() == "content"


def test_a_step_with_one_nan_batch_is_skipped_as_a_whole(
    settings: Settings,
    write_config: WriteConfig,
    call: Call,
    records: Records,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settings["training"] |= {"gradient_accumulation_steps": 3, "checkpoint_every": 1, "keep_checkpoints": 9}
    real, count = NextToken.parts, iter(range(999))

    def parts(self: NextToken, batch: Batch) -> Iterator[Part]:
        factor = float("nan") if next(count) == 4 else 1.0  # the middle one of the second step
        for part in real(self, batch):
            yield Part(part.loss * factor)

    monkeypatch.setattr(NextToken, "parts", parts)
    monkeypatch.setattr(memory_estimate, "estimate", lambda *arguments: None)  # it takes such a step, too
    assert call("train", "--config", write_config(settings), "--steps", 2).exit_code == 0
    weights = [
        (tmp_path / "out" / "checkpoints" / f"step-0000000{step}" / "model.safetensors").read_bytes()
        for step in (1, 2)
    ]
    assert weights[0] == weights[1]
    assert call("train", "--config", write_config(settings), "--resume").exit_code == 0
    found = records(tmp_path / "out" / "metrics.jsonl")
    assert [record["step"] for record in found if record["event"] == "nonfinite"] == [2]
    assert [record["step"] for record in found if record["event"] == "train"] == [1, 3, 4, 5, 6]
