"""Event files contain the figures of the log, as read by TensorBoard."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from typer.testing import Result

from doctor.extras import how_to_add
from trainer.records.tensorboard import EventFiles

Settings = dict[str, dict[str, Any]]
WriteConfig = Callable[[Any], Path]
Call = Callable[..., Result]
Records = Callable[[Path], list[dict[str, Any]]]


def read(folder: Path) -> dict[str, dict[int, float]]:
    events = EventAccumulator(str(folder)).Reload()
    return {tag: {e.step: e.value for e in events.Scalars(tag)} for tag in events.Tags()["scalars"]}


def figures(records: list[dict[str, Any]]) -> dict[str, dict[int, float]]:
    """The figures of a log, in the form that `read` returns."""
    found: dict[str, dict[int, float]] = {}
    for record in records:
        for key, value in record.items() if record["event"] in ("train", "eval") else ():
            if isinstance(value, (int, float)) and key not in ("schema_version", "step"):
                found.setdefault(f"{record['event']}/{key}", {})[record["step"]] = value
    return found


@pytest.fixture
def runs(tmp_path: Path) -> Callable[[], list[Path]]:
    return lambda: sorted((tmp_path / "out" / "tensorboard").iterdir())


def test_event_files_contain_the_figures_of_the_log(
    settings: Settings,
    write_config: WriteConfig,
    call: Call,
    records: Records,
    tmp_path: Path,
    runs: Callable[[], list[Path]],
) -> None:
    settings["output"]["tensorboard"] = True
    settings["training"]["eval_every"] = 2
    assert call("train", "--config", write_config(settings)).exit_code == 0
    (folder,) = runs()
    logged = figures(records(tmp_path / "out" / "metrics.jsonl"))
    assert {"train/loss", "train/tokens_per_second", "eval/bits_per_byte"} <= set(logged)
    found = read(folder)
    assert found.keys() == logged.keys()
    for tag, points in logged.items():
        assert found[tag] == pytest.approx(points, rel=1e-6), tag
    events = EventAccumulator(str(folder)).Reload()
    assert b'"learning_rate": 0.001' in events.Tensors("config/text_summary")[0].tensor_proto.string_val[0]


def test_a_resumed_run_continues_in_its_folder_and_replaces_repeated_steps(
    settings: Settings,
    write_config: WriteConfig,
    call: Call,
    records: Records,
    tmp_path: Path,
    runs: Callable[[], list[Path]],
) -> None:
    settings["training"]["checkpoint_every"] = 4
    config = write_config(settings)
    assert call("train", "--config", config, "--tensorboard").exit_code == 0
    (tmp_path / "out" / "checkpoints" / "step-00000006" / "state.json").write_text("damaged")
    resumed = call("train", "--config", config, "--tensorboard", "--resume", "--lr", "1e-4")
    assert resumed.exit_code == 0, resumed.output
    (folder,) = runs()
    logged = figures(records(tmp_path / "out" / "metrics.jsonl"))
    assert read(folder)["train/loss"] == pytest.approx(logged["train/loss"], rel=1e-6)


def test_a_new_run_has_a_folder_of_its_own(
    settings: Settings, write_config: WriteConfig, call: Call, tmp_path: Path, runs: Callable[[], list[Path]]
) -> None:
    settings["output"] |= {"tensorboard": True, "log_file": str(tmp_path / "out" / "metrics.jsonl")}
    for name in ("a", "b"):
        config = write_config(settings)
        assert call("train", "--config", config, "--output-dir", tmp_path / name).exit_code == 0
    assert [read(folder)["train/loss"].keys() for folder in runs()] == [set(range(1, 7))] * 2


def test_without_the_package_a_run_does_not_start(
    settings: Settings,
    write_config: WriteConfig,
    call: Call,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    result = call("train", "--config", write_config(settings), "--tensorboard")
    assert result.exit_code == 2
    assert how_to_add("tensorboard") in result.stderr
    assert not (tmp_path / "out" / "metrics.jsonl").exists()


def test_a_full_disk_stops_the_event_files_but_not_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    files = EventFiles(tmp_path, said.append)
    start = {
        "event": "run_start",
        "step": 0,
        "resumed_from": None,
        "config": {},
        "ts": "2026-11-21T12:00:00Z",
    }
    files.record(start)

    def full(*_: object, **__: object) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr(files._writer, "add_scalar", full)
    train = {"event": "train", "step": 1, "ts": "2026-11-21T12:00:01Z", "loss": 1.0}
    for record in (train, train, {"event": "run_end", "step": 1}):
        files.record(record)
    assert said == ["WARNING: TensorBoard event files can no longer be written: No space left on device"]
