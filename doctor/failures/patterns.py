"""Searches for a pattern in a log: at most once per line, near a place, or its last match."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from functools import cache

from doctor.failures.literal import bounded, literal, starts_with_literal
from doctor.failures.log import Log

MAX_TRIES = 50  # lines, from the end of a piece, that are searched for `unless`
IN_LINE = 8  # occurrences of a pattern's fixed text in a line that are examined
REACH = 1_200  # characters before and after its fixed text that a pattern can match
OVERLAP = 400  # characters that are searched again, for a match that ends after the region searched before

Line = tuple[int, int, int]  # a place, and the start and end of its line


class Nearby:
    """Whether a pattern matches near places that come in their order: each part of a text is searched once."""

    def __init__(self, pattern: str) -> None:
        self.expression = compiled(pattern)
        self.log: Log | None = None
        self.searched = 0  # up to here
        self.last = -1  # the place of the last match

    def matches(self, log: Log, start: int, end: int) -> bool:
        """Whether there is a match between `start` and `end`."""
        if log is not self.log:
            self.log, self.searched, self.last = log, start, -1
        place = max(self.searched, start)
        while match := self.expression.search(log.searched, place, end):
            self.last = match.start()
            place = max(match.end(), match.start() + 1)
        self.searched = max(self.searched, end - OVERLAP, place)
        return self.last >= start


@cache
def compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(bounded(pattern))


@cache
def _parts(pattern: str) -> tuple[re.Pattern[str], str, bool]:
    """The expression of a pattern, its fixed text, and whether it starts with that."""
    return compiled(pattern), literal(pattern), starts_with_literal(pattern)


def lines_with(log: Log, needed: str) -> list[Line]:
    """The lines that contain a fixed text: its first place, and the start and end of the line."""
    lines, place = [], log.start
    while (place := log.searched.find(needed, place, log.stop)) >= 0:
        start, end = log.line(place)
        lines.append((place, start, end))
        place = max(end, place + 1)
    return lines


def places(log: Log, pattern: str, lines: Iterable[Line]) -> Iterator[re.Match[str]]:
    """The matches of `pattern`, at most one per line. `lines`: those with its fixed text."""
    for line in lines:
        if match := _in_line(log, pattern, *line):
            yield match


def _in_line(log: Log, pattern: str, place: int, start: int, end: int) -> re.Match[str] | None:
    """The first match of `pattern` in a line whose first occurrence of the fixed text is at `place`."""
    expression, needed, at_start = _parts(pattern)
    for _ in range(IN_LINE):
        if at_start:
            match = expression.match(log.searched, place, end)
        else:
            match = expression.search(log.searched, max(start, place - REACH), min(end, place + REACH))
        if match:
            return match
        place = log.searched.find(needed, place + 1, end)
        if place < 0:
            return None
    return None


def last_place(log: Log, pattern: str, lines: Sequence[Line]) -> int:
    """The place of the last match of `pattern`; -1 if there is none in the last MAX_TRIES of `lines`."""
    match = next(places(log, pattern, reversed(lines[-MAX_TRIES:])), None)
    return match.start() if match else -1
