"""Writes `metrics.jsonl`, the log of a run: one JSON object per line, flushed line by line.

A log file may contain several runs, one after the other. A run starts with a `run_start` whose `resumed_from` is null; a
resumed run continues with a `run_start` that names the step it resumed from. Records that a killed run wrote after that
step are dropped on resume, because those steps are repeated.
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

from doctor.bounded import read_bytes
from doctor.files import write_atomically
from doctor.ownership import Mark, require_ours
from trainer.errors import RunError, UserError
from trainer.records.reading import parse
from trainer.say import Say

SCHEMA_VERSION = 1
LARGEST = 8 << 30  # bytes of a log
BEGINNING = b'{"schema_version": '  # the first bytes of each record

Sink = Callable[[dict[str, Any]], None]  # receives each record when it is written


class MetricsLog:
    """Appends records to a log file.

    A record that cannot be written (the disk is full, the network drive is gone) does not interrupt the step: it is
    retried with each following record, and `failed` is called once, so that the run can save a checkpoint and stop.

    Args:
        path: the log file; its parent folders are created.
        resumed_from: the step that a resumed run continues after; None for a new run.
        repeated: the last run was killed before its first checkpoint, and is repeated from its beginning.
        failed: called with the reason when a record cannot be written.
        sinks: also receive each record.

    Raises:
        UserError: the file cannot be opened for writing.
        RunError: on exit, if some records could still not be written.
    """

    def __init__(
        self,
        path: Path,
        resumed_from: int | None = None,
        *,
        failed: Say,
        sinks: Sequence[Sink] = (),
        repeated: bool = False,
    ) -> None:
        self.step = resumed_from or 0  # of the newest record
        self._path = path
        self._failed = failed
        self._sinks = sinks
        self._waiting: list[bytes] = []
        self._error: OSError | None = None
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            if path != Path(os.devnull):
                require_ours(path, MARK)
                before = read_bytes(path, LARGEST) if path.exists() else b""
                kept = _without_later(before, resumed_from, repeated=repeated)
                if kept != before:
                    write_atomically(path, kept)
            self._file = path.open("ab", buffering=0)
        except OSError as error:
            raise UserError(
                f"Cannot write the log file {path.absolute()}: {error}. Choose another location with "
                "output.output_dir (--output-dir) or output.log_file (--log-file)."
            ) from error

    def write(self, event: str, step: int, **fields: Any) -> None:
        """Append one record. NaN and infinity, which JSON does not have, become null."""
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
                self._failed(f"cannot write the log file {self._path.absolute()}: {error}")
            self._error = error

    def _append(self, line: bytes) -> None:
        """Write the whole line or nothing."""
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
                f"{len(self._waiting)} records could not be written to {self._path.absolute()}: {self._error}. "
                "The checkpoints are complete: free some space, then continue with --resume."
            )


def _bears_our_mark(head: bytes) -> bool:
    """Whether a file begins with a record, complete or cut off when its process was killed."""
    first, newline, _ = head.partition(b"\n")
    return bool(parse(_text(first))) or (not newline and _is_cut_off(first))


MARK = Mark("a log of `aios train`", _bears_our_mark)


def _is_cut_off(line: bytes) -> bool:
    """Whether a last line without a line feed is part of a record, not a note that the user added."""
    return line.startswith(BEGINNING) or BEGINNING.startswith(line)


def _without_later(content: bytes, resumed_from: int | None, *, repeated: bool) -> bytes:
    """The log without an incomplete last record and, on resume, without the last run's records after that step.

    A run that is repeated is dropped as a whole, unless its records say that it saved a checkpoint or ended.
    """
    lines = content.splitlines(keepends=True)
    if lines and not lines[-1].endswith(b"\n"):
        tail = lines.pop()
        if parse(_text(tail)) or not _is_cut_off(tail):
            lines.append(tail + b"\n")
    if resumed_from is None and not repeated:
        return b"".join(lines)
    records = [parse(_text(line)) for line in lines]
    starts = [
        i for i, r in enumerate(records) if r.get("event") == "run_start" and r.get("resumed_from") is None
    ]
    last = starts[-1] if starts else 0
    if resumed_from is None:
        ended = not starts or any(r.get("event") in ("checkpoint", "run_end") for r in records[last:])
        kept = [line for i, line in enumerate(lines) if ended or i < last or not records[i]]
        return b"".join(kept)
    kept = [line for i, line in enumerate(lines) if i < last or records[i].get("step", 0) <= resumed_from]
    return b"".join(kept)


def _text(line: bytes) -> str:
    return line.decode("utf-8", "replace")


def _finite(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(inner) for inner in value]
    return value
