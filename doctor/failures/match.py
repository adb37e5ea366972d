"""Which known failures a log shows, and where: symptoms against lines, nothing else."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from doctor.failures.literal import literal
from doctor.failures.log import Log, shown
from doctor.failures.table import Failure, FailureTable, Symptom

LINES_BEFORE, LINES_AFTER = 60, 20  # what is near: an error ends a traceback, a list follows its heading
MOST_LINES = 500  # of one symptom: a log that repeats itself says nothing new
MOST_TRIES = 50  # lines from the end that may say that all ended well
GAP = ".{0,400}"  # what `.*` passes over at most: two long paths, and time does not grow with a line's square
TORCH_FOR_LINUX = r"\btorch-\S{3,60}linux_"


@dataclass(frozen=True)
class Sighting:
    """A failure whose symptoms stand in a log.

    `certain`: one of them is of this failure alone. `harmless`: all of them are.
    """

    failure: Failure
    certain: bool
    harmless: bool
    line: int  # the first that tells it, and its text
    text: str
    lines: frozenset[int]  # all of them


@dataclass(frozen=True)
class _Hit:
    place: int
    symptom: Symptom


def find(log: Log, table: FailureTable) -> tuple[Sighting, ...]:
    """All failures of the table that the log shows, in the table's order."""
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
    made_good = max((_last_place(log, pattern) for pattern in symptom.unless), default=-1)
    near = symptom.near and re.compile(symptom.near)
    for place in places:
        if place > made_good and (
            not near or near.search(log.text, *log.around(place, LINES_BEFORE, LINES_AFTER))
        ):
            yield _Hit(place, symptom)


def _places(log: Log, pattern: str) -> Iterator[int]:
    """Where `pattern` matches, once for each line at most."""
    expression, needed = re.compile(pattern.replace(".*", GAP)), literal(pattern)
    found, place = 0, 0
    while found < MOST_LINES and (place := log.text.find(needed, place)) >= 0:
        start, end = log.line(place)
        if match := expression.search(log.text, start, end):
            found += 1
            yield match.start()
        place = max(end, place + 1)


def _last_place(log: Log, pattern: str) -> int:
    """Where the last match of `pattern` is, in a line of any length; -1 if there is none."""
    expression, needed = re.compile(pattern), literal(pattern)
    place = len(log.text)
    for _ in range(MOST_TRIES):
        place = log.text.rfind(needed, 0, place)
        if place < 0:
            return -1
        start, end = log.line(place)
        if match := expression.search(log.text, start, end):
            return match.start()
    return -1
