"""Logs for the tests of the failure table: a sample for each symptom, and whole logs of healthy and failed runs."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from doctor.failures.log import read
from doctor.failures.match import find
from doctor.failures.order import Placed, arrange
from doctor.failures.table import failures

HERE = Path(__file__).parent
HEALTHY = sorted((HERE / "logs" / "healthy").glob("*.log"))
FAILING = sorted((HERE / "logs" / "failing").glob("*.log"))


@dataclass(frozen=True)
class Sample:
    """Lines of a log that show the failure `row`; a row of `shared` may match them as well, and may come first."""

    row: str
    shared: frozenset[str]
    text: str
    number: int

    def __str__(self) -> str:
        return f"{self.row}-{self.number}"


@cache
def samples() -> tuple[Sample, ...]:
    blocks = re.split(r"^== ", (HERE / "symptoms.txt").read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]
    found = []
    for number, block in enumerate(blocks, start=1):
        head, _, text = block.partition("\n")
        row, *shared = head.replace("|", " ").split()
        found.append(Sample(row, frozenset(shared), text.rstrip("\n"), number))
    return tuple(found)


@cache
def unrelated_output(platform: str = "win_amd64") -> tuple[str, ...]:
    """More than 200 lines that pip printed while it installed other packages."""
    text = (HERE / "logs" / "healthy" / "pip-many-packages.log").read_text(encoding="utf-8")
    return tuple(text.replace("win_amd64", platform).splitlines())


def wrapped(text: str, platform: str = "win_amd64") -> str:
    lines = unrelated_output(platform)
    middle = len(lines) // 2
    return "\n".join([*lines[:middle], text, *lines[middle:], ""])


def placed(data: bytes, failing: frozenset[str] = frozenset()) -> tuple[Placed, ...]:
    return arrange(find(read(data), failures()), failures(), failing)


def named(data: bytes, failing: frozenset[str] = frozenset()) -> list[str]:
    return [place.sighting.failure.id for place in placed(data, failing)]


@dataclass(frozen=True)
class Report:
    """A public report: the row that must come first, the failing package, the source, and the text of the log."""

    row: str
    package: str | None
    source: str
    text: str

    def __str__(self) -> str:
        return f"{self.row}-{self.source}"


def _blocks(name: str) -> list[tuple[str, str]]:
    blocks = re.split(r"^== ", (HERE / name).read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]
    return [(head, text) for head, _, text in (block.partition("\n") for block in blocks)]


@cache
def reports() -> tuple[Report, ...]:
    found = []
    for head, text in _blocks("reports.txt"):
        row, source, _ = head.split(" | ", 2)
        row, _, package = row.partition(" ")
        found.append(Report(row, package or None, source, text))
    return tuple(found)


@dataclass(frozen=True)
class Found(Report):
    """A report that was looked for after the table was written.

    Attributes:
        set: one that the table was then changed for, or one that only measures it.
        before: the verdict, and the rows that were named before the table was changed for it.
        shown: the log shows the cause; otherwise it is not named first.
    """

    set: str
    before: tuple[str, ...]
    shown: bool

    def verdict(self, rows: Sequence[str]) -> str:
        """How good it is to name these rows, in this order."""
        if not rows:
            return "silent"
        return "right" if rows[0] == self.row else "partly" if self.row in rows else "wrong"


@cache
def found() -> tuple[Found, ...]:
    every = []
    for head, text in _blocks("found.txt"):
        row, source, name, before, _ = head.split(" | ", 4)
        row, _, package = row.partition(" ")
        shown = not row.endswith("?")
        every.append(
            Found(row.rstrip("?"), package or None, source, text, name, tuple(before.split()), shown)
        )
    return tuple(every)


@cache
def healthy_runs() -> dict[str, str]:
    """The output of runs without a failure, by description."""
    return dict(_blocks("healthy.txt"))
