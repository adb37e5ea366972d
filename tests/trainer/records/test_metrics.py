"""metrics.jsonl: the records that are written, and those that a resumed run keeps."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from trainer.errors import UserError
from trainer.records.metrics import MetricsLog


def steps_of(path: Path) -> list[tuple[str, int]]:
    return [(record["event"], record["step"]) for record in map(json.loads, path.read_text().splitlines())]


def write_run(path: Path, *steps: int, resumed_from: int | None = None) -> None:
    with MetricsLog(path, resumed_from, failed=pytest.fail) as log:
        log.write("run_start", resumed_from or 0, resumed_from=resumed_from)
        for step in steps:
            log.write("train", step, loss=float(step))


def test_a_record_is_on_disk_as_soon_as_it_is_written(tmp_path: Path) -> None:
    with MetricsLog(tmp_path / "deep" / "er" / "m.jsonl", failed=pytest.fail) as log:
        log.write("train", 3, loss=1.5)
        record = json.loads((tmp_path / "deep" / "er" / "m.jsonl").read_text())
    assert record.pop("ts").endswith("Z")
    assert record == {"schema_version": 1, "event": "train", "step": 3, "loss": 1.5}


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_values_that_json_cannot_represent_are_null(tmp_path: Path, value: float) -> None:
    with MetricsLog(tmp_path / "m.jsonl", failed=pytest.fail) as log:
        log.write("nonfinite", 1, loss=value, nested={"x": [value]})
    text = (tmp_path / "m.jsonl").read_text()
    record: dict[str, Any] = json.loads(text, parse_constant=pytest.fail)
    assert record["loss"] is None
    assert record["nested"] == {"x": [None]}


def test_resuming_drops_what_a_killed_run_wrote_after_its_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "m.jsonl"
    write_run(path, 1, 2, 3, 4)
    write_run(path, 3, 4, 5, resumed_from=2)
    trained = [("train", 1), ("train", 2), ("run_start", 2), ("train", 3), ("train", 4), ("train", 5)]
    assert steps_of(path) == [("run_start", 0), *trained]


def test_resuming_drops_an_incomplete_last_line(tmp_path: Path) -> None:
    path = tmp_path / "m.jsonl"
    write_run(path, 1, 2)
    with path.open("a") as file:
        file.write('{"schema_version": 1, "event": "tr')
    write_run(path, 3, resumed_from=2)
    assert steps_of(path) == [("run_start", 0), ("train", 1), ("train", 2), ("run_start", 2), ("train", 3)]


def test_resuming_keeps_earlier_runs_in_the_same_file(tmp_path: Path) -> None:
    path = tmp_path / "m.jsonl"
    write_run(path, 1, 2, 3)
    write_run(path, 1, 2, 3)
    write_run(path, 2, resumed_from=1)
    first = [("run_start", 0), ("train", 1), ("train", 2), ("train", 3)]
    assert steps_of(path) == [*first, *first[:2], ("run_start", 1), ("train", 2)]


def test_a_line_from_another_program_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "m.jsonl"
    path.write_text("a note\n[1]\n")
    write_run(path, 1, resumed_from=5)
    assert path.read_text().startswith("a note\n[1]\n")


def test_a_log_that_cannot_be_written_is_explained(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"Cannot write the log file.*--log-file"):
        MetricsLog(tmp_path / "file" / "m.jsonl", failed=pytest.fail)
