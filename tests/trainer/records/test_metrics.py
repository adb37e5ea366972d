"""metrics.jsonl: the records that are written, and those that a resumed run keeps."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from trainer.errors import UserError
from trainer.records.metrics import MetricsLog


def steps_of(path: Path) -> list[tuple[str, int]]:
    return [(record["event"], record["step"]) for record in map(json.loads, path.read_text().splitlines())]


def write_run(path: Path, *steps: int, resumed_from: int | None = None, repeated: bool = False) -> None:
    with MetricsLog(path, resumed_from, failed=pytest.fail, repeated=repeated) as log:
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


def test_a_run_without_a_checkpoint_that_is_repeated_is_recorded_once(tmp_path: Path) -> None:
    path = tmp_path / "m.jsonl"
    write_run(path, 1, 2, 3)
    write_run(path, 1, 2)
    write_run(path, 1, repeated=True)
    first = [("run_start", 0), ("train", 1), ("train", 2), ("train", 3)]
    assert steps_of(path) == [*first, *first[:2]]


@pytest.mark.parametrize("event", ["checkpoint", "run_end"])
def test_a_run_whose_checkpoints_are_gone_keeps_its_records(tmp_path: Path, event: str) -> None:
    path = tmp_path / "m.jsonl"
    with MetricsLog(path, failed=pytest.fail) as log:
        log.write("run_start", 0, resumed_from=None)
        log.write(event, 3)
    write_run(path, 1, repeated=True)
    assert steps_of(path) == [("run_start", 0), (event, 3), ("run_start", 0), ("train", 1)]


def test_lines_that_the_user_added_to_a_log_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "m.jsonl"
    write_run(path, 1)
    before = path.read_bytes()
    notes = b"a note\n[1]\nth\xe9 last, without a line feed"
    path.write_bytes(before + notes)
    write_run(path, 2, resumed_from=1)
    assert path.read_bytes().startswith(before + notes + b"\n")


@pytest.mark.parametrize(
    "content",
    [
        b"first line\nthe last line, typed without a line feed",
        bytes(range(256)) * 100,
        b"model:\n  tokenizer: byte\n",
        b'{"text": "a document"}\n{"text": "cut o',
        b'{"schema_version": 1, "devices": []}\n',
        b"\xff\xfe\x00" + b"x" * 70_000,
    ],
    ids=["notes", "binary", "configuration", "data set", "capability file", "one long line"],
)
@pytest.mark.parametrize("resumed_from", [None, 3])
def test_a_file_that_is_not_a_log_is_refused_and_left_as_it_is(
    tmp_path: Path, content: bytes, resumed_from: int | None
) -> None:
    path = tmp_path / "notes.txt"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"notes.txt exists and is not a log of `aios train`.*--log-file"):
        MetricsLog(path, resumed_from, failed=pytest.fail)
    assert path.read_bytes() == content


def test_a_log_whose_first_record_was_cut_off_by_a_kill_is_ours(tmp_path: Path) -> None:
    path = tmp_path / "m.jsonl"
    for cut in (b"", b"{", b'{"schema_version": 1, "eve'):
        path.write_bytes(cut)
        write_run(path, 1)
        assert steps_of(path) == [("run_start", 0), ("train", 1)]


@pytest.mark.skipif(os.name == "nt", reason="links need a right on Windows")
def test_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "kept").write_text("")
    (tmp_path / "m.jsonl").symlink_to(tmp_path / "kept")
    with pytest.raises(UserError, match="is a link"):
        MetricsLog(tmp_path / "m.jsonl", failed=pytest.fail)


def test_a_log_that_cannot_be_written_is_explained(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"Cannot write the log file.*--log-file"):
        MetricsLog(tmp_path / "file" / "m.jsonl", failed=pytest.fail)
