"""`metrics.jsonl`: what a run did, one JSON object a line, flushed line by line.

A log file may hold several runs, one after the other. A run begins with a `run_start` whose `resumed_from` is
null; a resumed run goes on with a `run_start` that names the step it continues from. Records that a killed run
wrote after that step describe steps that are now done again, so resuming drops them.
"""

from __future__ import annotations

import errno
import json
import math
import os
from collections.abc import Callable, Sequence
from datetime import datetime, timezone
from pathlib import Path
from types import TracebackType
from typing import Any

from doctor.files import write_atomically
from trainer.errors import RunError, UserError
from trainer.records.reading import parse
from trainer.say import Say

SCHEMA_VERSION = 1

Sink = Callable[[dict[str, Any]], None]  # takes each record as it is written


class MetricsLog:
    """Appends records to a log file.

    A record that cannot be written (the disk is full, the network is gone) ends no step: it is tried again with each that
    follows, and `failed` is told once, so that the run can be saved first.

    Args:
        path: the log file; folders above it are made.
        resumed_from: the step after which the run goes on; None for a new run.
        failed: told why a record cannot be written.
        sinks: handed each record, too.

    Raises:
        UserError: it cannot be written from the beginning.
        RunError: on leaving, records are still not written.
    """

    def __init__(
        self, path: Path, resumed_from: int | None = None, *, failed: Say, sinks: Sequence[Sink] = ()
    ) -> None:
        self.step = resumed_from or 0  # of the newest record
        self._path = path
        self._failed = failed
        self._sinks = sinks
        self._waiting: list[bytes] = []
        self._error: OSError | None = None
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            before = path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""
            kept = _without_later(before, resumed_from)
            if kept != before:
                write_atomically(path, kept.encode())
            self._file = path.open("ab", buffering=0)
        except OSError as error:
            raise UserError(
                f"The log file {path.absolute()} cannot be written: {error}. Name another place with "
                "output.output_dir (--output-dir) or output.log_file (--log-file)."
            ) from error

    def write(self, event: str, step: int, **fields: Any) -> None:
        """Append one record. Numbers that JSON cannot hold (NaN, infinity) become null."""
        self.step = step
        moment = datetime.now(timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        known = {"schema_version": SCHEMA_VERSION, "event": event, "ts": moment, "step": step, **fields}
        record = _finite(known)
        self._waiting.append(json.dumps(record, allow_nan=False, default=str).encode() + b"\n")
        self._write_waiting()
        for sink in self._sinks:
            sink(record)

    def _write_waiting(self) -> None:
        try:
            while self._waiting:
                self._append(self._waiting[0])
                self._waiting.pop(0)
        except OSError as error:
            if not self._error:
                self._failed(f"the log file {self._path.absolute()} cannot be written: {error}")
            self._error = error

    def _append(self, line: bytes) -> None:
        """Write a whole line, or nothing of it."""
        written = self._file.write(line)
        if written != len(line):
            self._file.truncate(os.fstat(self._file.fileno()).st_size - written)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def __enter__(self) -> MetricsLog:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._write_waiting()
        self._file.close()
        if self._waiting and error is None:
            raise RunError(
                f"{len(self._waiting)} records of the run could not be written to {self._path.absolute()}: {self._error}. "
                "Its checkpoints are whole: make room, then go on with --resume."
            )


def _without_later(text: str, resumed_from: int | None) -> str:
    """A log without the line that a kill cut short and, when resuming, without its last run's later records."""
    lines = text.splitlines(keepends=True)
    if lines and not lines[-1].endswith("\n"):
        lines.pop()
    if resumed_from is None:
        return "".join(lines)
    records = [parse(line) for line in lines]
    starts = [
        i for i, r in enumerate(records) if r.get("event") == "run_start" and r.get("resumed_from") is None
    ]
    last = starts[-1] if starts else 0
    kept = [line for i, line in enumerate(lines) if i < last or records[i].get("step", 0) <= resumed_from]
    return "".join(kept)


def _finite(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(inner) for inner in value]
    return value
