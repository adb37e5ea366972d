"""The search for known failures in a log: their symptoms are matched against its lines."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from doctor.failures.literal import literal
from doctor.failures.log import Log, shown
from doctor.failures.table import Failure, FailureTable, Symptom

LINES_BEFORE, LINES_AFTER = 60, 20  # `near`: an error ends a traceback, a list follows its heading
MAX_LINES = 500  # lines per symptom; more repetitions add nothing
MAX_TRIES = 50  # lines, from the end, that are searched for `unless`
GAP = ".{0,400}"  # `.*` matches at most two long paths, so that time is not quadratic in the length of a line
TORCH_FOR_LINUX = r"\btorch-\S{3,60}linux_"


@dataclass(frozen=True)
class Sighting:
    """A failure whose symptoms are in a log.

    Attributes:
        certain: one of the symptoms is specific to this failure.
        harmless: all of the symptoms are harmless.
        line: the number of the line with the best symptom, and `text`, its content.
        lines: the numbers of all lines with symptoms.
    """

    failure: Failure
    certain: bool
    harmless: bool
    line: int
    text: str
    lines: frozenset[int]


@dataclass(frozen=True)
class _Hit:
    place: int
    symptom: Symptom


def find(log: Log, table: FailureTable) -> tuple[Sighting, ...]:
    """The failures whose symptoms are in the log, in the order of the table."""
    of_linux = next(_places(log, TORCH_FOR_LINUX), None) is not None
    sightings = []
    for failure in table.failures:
        symptoms = [s for s in failure.symptoms if not (s.windows and of_linux)]
        hits = [hit for symptom in symptoms for hit in _hits(log, symptom)]
        if not hits:
            continue
        first = min(hits, key=lambda hit: (hit.symptom.generic, hit.symptom.harmless, hit.place))
        start, end = log.line(first.place)
        sightings.append(
            Sighting(
                failure=failure,
                certain=not first.symptom.generic,
                harmless=all(hit.symptom.harmless for hit in hits),
                line=log.line_number(first.place),
                text=shown(log.text[start:end], first.place - start),
                lines=frozenset(log.line_number(hit.place) for hit in hits),
            )
        )
    return tuple(sightings)


def _hits(log: Log, symptom: Symptom) -> Iterator[_Hit]:
    places = list(_places(log, symptom.pattern))
    if not places:
        return
    resolved_at = max((_last_place(log, pattern) for pattern in symptom.unless), default=-1)
    near = symptom.near and re.compile(symptom.near)
    for place in places:
        if place > resolved_at and (
            not near or near.search(log.text, *log.around(place, LINES_BEFORE, LINES_AFTER))
        ):
            yield _Hit(place, symptom)


def _places(log: Log, pattern: str) -> Iterator[int]:
    """Where `pattern` matches, at most once per line."""
    expression, needed = re.compile(pattern.replace(".*", GAP)), literal(pattern)
    found, place = 0, 0
    while found < MAX_LINES and (place := log.text.find(needed, place)) >= 0:
        start, end = log.line(place)
        if match := expression.search(log.text, start, end):
            found += 1
            yield match.start()
        place = max(end, place + 1)


def _last_place(log: Log, pattern: str) -> int:
    """The place of the last match of `pattern`; -1 if there is none."""
    expression, needed = re.compile(pattern), literal(pattern)
    place = len(log.text)
    for _ in range(MAX_TRIES):
        place = log.text.rfind(needed, 0, place)
        if place < 0:
            return -1
        start, end = log.line(place)
        if match := expression.search(log.text, start, end):
            return match.start()
    return -1
