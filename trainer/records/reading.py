"""Reading `metrics.jsonl`: the runs in a log file, whatever else it holds, and however it ends."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from trainer.errors import UserError

LOG = "metrics.jsonl"
HEAD = 1 << 16  # bytes of a file, in which the first run of a log begins

Record = Mapping[str, Any]


@dataclass(frozen=True)
class RecordedRun:
    """A run as its records tell it: its `run_start`, what follows, and what followed when it was resumed.

    Attributes:
        log: the file.
        number, of: which run of the file this is, counted from 1, and how many there are.
    """

    log: Path
    number: int
    of: int
    records: tuple[Record, ...]

    @property
    def name(self) -> str:
        """The folder of the run, or its log file where that has a name of its own."""
        path = self.log.parent if self.log.name == LOG else self.log
        return f"{path}{f' #{self.number}' if self.of > 1 else ''}"

    @property
    def start(self) -> Record:
        """The newest `run_start`."""
        return self.last_session[0]

    @property
    def last_session(self) -> tuple[Record, ...]:
        """The records since it was last started."""
        starts = [i for i, record in enumerate(self.records) if record["event"] == "run_start"]
        return self.records[starts[-1] :]

    def events(self, name: str) -> list[Record]:
        return [record for record in self.records if record["event"] == name]


def find(path: Path) -> list[RecordedRun]:
    """The runs in a log file, or in all log files below a folder.

    Raises:
        UserError: there is no such path, it cannot be read, or it holds no run.
    """
    try:
        if not path.exists():
            raise UserError(f"There is no {path.absolute()}. Name the folder of a run, or its {LOG}.")
        logs = sorted(filter(_is_log, path.rglob("*.jsonl"))) if path.is_dir() else [path]
        runs = [run for log in logs for run in read(log)]
    except OSError as error:
        raise UserError(f"The records in {path.absolute()} cannot be read: {error}.") from error
    if not runs:
        raise UserError(
            f"{path.absolute()} holds no records of a run: `aios train` writes them to {LOG} in its output_dir, "
            "or where --log-file says."
        )
    return runs


def read(log: Path) -> list[RecordedRun]:
    """The runs in a log file. Lines that are cut short or not ours are passed over.

    A resumed run does the steps after its checkpoint again: records of their first time are left out.
    """
    runs: list[list[Record]] = []
    for record in _records(log):
        if record["event"] == "run_start":
            resumed_from = record.get("resumed_from")
            if isinstance(resumed_from, int) and runs:
                runs[-1] = [earlier for earlier in runs[-1] if earlier["step"] <= resumed_from]
            else:
                runs.append([])
        if runs:
            runs[-1].append(record)
    return [
        RecordedRun(log, number, len(runs), tuple(records)) for number, records in enumerate(runs, start=1)
    ]


def number(record: Record, key: str) -> float | None:
    """A figure of a record; None where there is none."""
    value = record.get(key)
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def moment(record: Record) -> datetime | None:
    """When a record was written; None where it does not say."""
    try:
        return datetime.fromisoformat(str(record.get("ts")).replace("Z", "+00:00"))  # Python 3.10 knows no Z
    except ValueError:
        return None


def parse(line: str) -> dict[str, Any]:
    """The record in a line; empty where it is not one of ours."""
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    ours = (
        isinstance(record, dict) and isinstance(record.get("event"), str) and type(record.get("step")) is int
    )
    return record if ours else {}


def _records(log: Path) -> Iterator[Record]:
    with log.open(encoding="utf-8", errors="replace") as lines:
        yield from filter(None, map(parse, lines))


def _is_log(path: Path) -> bool:
    """Whether a file holds a run; not, for one, a data set."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return b'"run_start"' in file.read(HEAD)
