"""Reads the runs in a `metrics.jsonl`. Lines that are incomplete or not records are skipped."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from io import TextIOWrapper
from pathlib import Path
from typing import Any

from doctor.bounded import open_regular, parse_json, read_beginning
from trainer.errors import UserError

LOG = "metrics.jsonl"
HEAD = 1 << 16  # bytes; a log's first `run_start` is within them

Record = Mapping[str, Any]


@dataclass(frozen=True)
class RecordedRun:
    """The records of one run, from its `run_start` on, including resumes.

    Attributes:
        log: the log file.
        number, of: index of the run in the file, from 1, and the number of runs in it.
    """

    log: Path
    number: int
    of: int
    records: tuple[Record, ...]

    @property
    def name(self) -> str:
        """The run's folder, or its log file if that is not named metrics.jsonl."""
        path = self.log.parent if self.log.name == LOG else self.log
        return f"{path}{f' #{self.number}' if self.of > 1 else ''}"

    @property
    def start(self) -> Record:
        """The newest `run_start`."""
        return self.last_session[0]

    @property
    def last_session(self) -> tuple[Record, ...]:
        """The records since the run was last started or resumed."""
        starts = [i for i, record in enumerate(self.records) if record["event"] == "run_start"]
        return self.records[starts[-1] :]

    def events(self, name: str) -> list[Record]:
        return [record for record in self.records if record["event"] == name]


def find(path: Path) -> list[RecordedRun]:
    """The runs in a log file, or in all log files below a folder.

    Raises:
        UserError: the path does not exist, cannot be read, or contains no run.
    """
    try:
        if not path.exists():
            raise UserError(
                f"{path.absolute()} does not exist. `aios train` records a run in {LOG} in its output_dir. Give that folder, "
                "or that file."
            )
        logs = sorted(filter(_is_log, path.rglob("*.jsonl"))) if path.is_dir() else [path]
        runs = [run for log in logs for run in read(log)]
    except OSError as error:
        raise UserError(f"Cannot read the records in {path.absolute()}: {error}.") from error
    if not runs:
        raise UserError(
            f"No runs found in {path.absolute()}. `aios train` records a run in {LOG} in its output_dir, or in the file "
            "given by --log-file."
        )
    return runs


def read(log: Path) -> list[RecordedRun]:
    """The runs in a log file. Incomplete lines and lines that are not records are skipped.

    A resumed run repeats the steps after its checkpoint: their earlier records are dropped.
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
    """A number in a record; None if it is missing or not a number."""
    value = record.get(key)
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def moment(record: Record) -> datetime | None:
    """When a record was written; None if it does not say."""
    try:
        return datetime.fromisoformat(
            str(record.get("ts")).replace("Z", "+00:00")
        )  # Python 3.10 does not parse Z
    except ValueError:
        return None


def parse(line: str) -> dict[str, Any]:
    """The record in a line; empty if the line is not a record."""
    try:
        record = parse_json(line)
    except ValueError:
        return {}
    return record if _is_record(record) else {}


def parse_all(text: str) -> list[dict[str, Any]]:
    """The records in whole lines, as `parse` reads each: at once if all are JSON, which takes two thirds of the time."""
    try:
        found = parse_json(f"[{text.replace(chr(10), ',')}]")
    except ValueError:
        found = []
    if len(found) != text.count("\n") + 1:
        return [record for line in text.split("\n") if (record := parse(line))]
    return [record for record in found if _is_record(record)]


def _is_record(value: Any) -> bool:
    return isinstance(value, dict) and isinstance(value.get("event"), str) and type(value.get("step")) is int


def _records(log: Path) -> Iterator[Record]:
    with TextIOWrapper(open_regular(log), encoding="utf-8", errors="replace") as lines:
        yield from filter(None, map(parse, lines))


def _is_log(path: Path) -> bool:
    """Whether a .jsonl file is a log rather than, say, a data set."""
    if not path.is_file():
        return False
    return b'"run_start"' in read_beginning(path, HEAD)
