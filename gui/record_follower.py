"""Follows the records of a run while it writes them: reads only what is new."""

from __future__ import annotations

import os
from bisect import bisect_right
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from doctor.bounded import open_regular
from trainer.records.reading import Record, RecordedRun, parse_all

CURVES = {
    "train": (
        *("loss", "lr", "tokens_per_second", "peak_memory_bytes"),
        *("gpu_utilization", "gpu_celsius", "gpu_watts"),
    ),
    "eval": ("loss",),
}
NUMBERS = (float, int)  # types of a JSON number; bool is not one of them


@dataclass
class Points:
    """A curve, by step."""

    x: list[float] = field(default_factory=list)
    y: list[float] = field(default_factory=list)

    def cut(self, step: int) -> None:
        """Drop the points after a step."""
        end = bisect_right(self.x, step)
        del self.x[end:], self.y[end:]


class Follower:
    """The newest run of a log file.

    Attributes:
        curves: by (event, figure).
        others: the records of all events but train, the first of the run included.
        last: the newest train record.
    """

    def __init__(self, log: Path) -> None:
        self.log = log
        self._offset, self._rest, self._file = 0, b"", (0, 0)
        self._clear()

    def refresh(self) -> bool:
        """Read what is new; whether there was anything. Raises OSError."""
        with open_regular(self.log) as file:
            found = os.fstat(file.fileno())
            identity = (found.st_dev, found.st_ino)
            if identity != self._file or found.st_size < self._offset:  # rewritten, as by a resumed run
                self._offset, self._rest, self._file = 0, b"", identity
                self._clear()
            file.seek(self._offset)
            new = file.read()
        self._offset += len(new)
        whole, end, self._rest = (self._rest + new).rpartition(b"\n")
        if end:
            for record in parse_all(whole.decode("utf-8", "replace")):
                self._add(record)
        return bool(new)

    @property
    def run(self) -> RecordedRun | None:
        """The run with its newest train record only, for what does not depend on the others."""
        if not self.others:
            return None
        records = [*self.others, *([self.last] if self.last else [])]
        return RecordedRun(self.log, 1, 1, tuple(sorted(records, key=_order)))

    def _clear(self) -> None:
        self.curves = {(event, name): Points() for event, names in CURVES.items() for name in names}
        self._of_event = {
            event: tuple((name, self.curves[event, name]) for name in names)
            for event, names in CURVES.items()
        }
        self.others: list[Record] = []
        self.last: Record | None = None

    def _add(self, record: dict[str, Any]) -> None:
        event = record["event"]
        if event == "run_start":
            self._begin(record)
        if not self.others and event != "run_start":
            return
        step = record["step"]
        for name, points in self._of_event.get(event, ()):
            value: Any = record.get(name)
            if type(value) in NUMBERS:
                points.x.append(step)
                points.y.append(value)
        if event == "train":
            self.last = record
        else:
            self.others.append(record)

    def _begin(self, record: dict[str, Any]) -> None:
        """A new run, or one that is resumed from a step: the records after it are repeated."""
        step = record.get("resumed_from")
        if not isinstance(step, int):
            self._clear()
            return
        for points in self.curves.values():
            points.cut(step)
        self.others = [each for each in self.others if each["step"] <= step]
        if self.last and self.last["step"] > step:
            self.last = None


def _order(record: Record) -> str:
    return str(record.get("ts"))
