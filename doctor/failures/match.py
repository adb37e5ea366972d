"""The search for known failures in a log: their symptoms are matched against its lines."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache

from doctor.failures.events import is_warning, mentioned_only, package_at
from doctor.failures.literal import literal
from doctor.failures.log import WIDTH, Log, shown
from doctor.failures.patterns import Line, Nearby, compiled, last_place, lines_with, places
from doctor.failures.prefilter import Prefilter
from doctor.failures.table import Failure, FailureTable, Symptom

LINES_BEFORE, LINES_AFTER = 60, 20  # `near`: an error ends a traceback, a list follows its heading
MAX_LINES = 200  # lines per symptom; more repetitions add nothing
MAX_MATCHES = 5_000  # matches per symptom that are examined
TORCH_FOR_LINUX = r"\btorch-\S{3,60}linux_"


@dataclass(frozen=True)
class Sighting:
    """A failure whose symptoms are in a log.

    Attributes:
        certain: one of the symptoms is specific to this failure.
        harmless: all of the symptoms are harmless.
        warning: the line is a warning.
        supported: the log names the package that the failure is about.
        package: the package that the line, or the traceback above it, names.
        line: the number of the line with the best symptom, and `text`, its content.
        lines: the numbers of all lines with symptoms.
    """

    failure: Failure
    certain: bool
    harmless: bool
    warning: bool
    supported: bool
    package: str | None
    line: int
    text: str
    lines: frozenset[int]


@dataclass(frozen=True)
class _Hit:
    place: int  # in the whole log
    line: int
    text: str
    warning: bool
    package: str | None
    symptom: Symptom


def find(log: Log, table: FailureTable) -> tuple[Sighting, ...]:
    """The failures whose symptoms are in the log, in the order of the table."""
    return find_in([log], table)


def find_in(logs: Iterable[Log], table: FailureTable) -> tuple[Sighting, ...]:
    """The failures whose symptoms are in a log that is given in pieces."""
    search = _Search(table)
    for log in logs:
        search.add(log)
    return tuple(search.sightings())


Numbered = tuple[Failure, int, Symptom]  # the number of the symptom in its failure


class _Index:
    """The symptoms of a table, by the fixed text of their patterns."""

    def __init__(self, table: FailureTable) -> None:
        self.table = table
        symptoms = [symptom for failure in table.failures for symptom in failure.symptoms]
        self.ends = _by_literal({pattern for symptom in symptoms for pattern in symptom.unless})
        self.names = _by_literal({symptom.names for symptom in symptoms if symptom.names} | {TORCH_FOR_LINUX})
        self.symptoms: dict[str, list[Numbered]] = defaultdict(list)
        for failure in table.failures:
            for number, symptom in enumerate(failure.symptoms):
                self.symptoms[literal(symptom.pattern)].append((failure, number, symptom))
        self.prefilter = Prefilter({*self.symptoms, *self.ends, *self.names})


def _by_literal(patterns: Iterable[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = defaultdict(list)
    for pattern in sorted(patterns):
        found[literal(pattern)].append(pattern)
    return found


@cache
def _index(table: FailureTable) -> _Index:
    return _Index(table)


class _Search:
    """The hits of a table's symptoms in the pieces of one log."""

    def __init__(self, table: FailureTable) -> None:
        # By failure and number of the symptom: its hits, and how many matches were examined
        self.hits: dict[tuple[str, int], list[_Hit]] = defaultdict(list)
        self.tries: dict[tuple[str, int], int] = defaultdict(int)
        # The last places of patterns after which a symptom before does not count
        self.last: dict[str, int] = {}
        self.named: set[str] = set()  # patterns of packages that the log names
        self.index = _index(table)
        self.nearby: dict[tuple[str, int, str], Nearby] = {}

    def add(self, log: Log) -> None:
        searched = log.searched[max(log.start - WIDTH, 0) : log.stop + WIDTH]
        for needed in self.index.prefilter.candidates(searched):
            symptoms = [each for each in self.index.symptoms.get(needed, ()) if not self._is_full(each)]
            ends = self.index.ends.get(needed, ())
            names = [pattern for pattern in self.index.names.get(needed, ()) if pattern not in self.named]
            if not (symptoms or ends or names) or not (lines := lines_with(log, needed)):
                continue
            for each in symptoms:
                self._add_hits(log, lines, *each)
            for pattern in ends:
                if (place := last_place(log, pattern, lines)) >= 0:
                    self.last[pattern] = place + log.offset
            for pattern in names:
                if next(places(log, pattern, lines), None) is not None:
                    self.named.add(pattern)

    def _is_full(self, numbered: Numbered) -> bool:
        key = numbered[0].id, numbered[1]
        return len(self.hits[key]) == MAX_LINES or self.tries[key] == MAX_MATCHES

    def _add_hits(
        self, log: Log, lines: Sequence[Line], failure: Failure, number: int, symptom: Symptom
    ) -> None:
        key = failure.id, number
        for match in places(log, symptom.pattern, lines):
            if self._is_full((failure, number, symptom)):
                return
            self.tries[key] += 1
            if self._stands_alone(log, match, failure, number, symptom) and (
                hit := _hit(log, match, failure, symptom)
            ):
                self.hits[key].append(hit)

    def _stands_alone(
        self, log: Log, match: re.Match[str], failure: Failure, number: int, symptom: Symptom
    ) -> bool:
        """Whether no line near `match` rules the symptom out."""
        for pattern, wanted in ((symptom.near, True), (symptom.not_near, False)):
            if pattern:
                key = failure.id, number, pattern
                nearby = self.nearby.setdefault(key, Nearby(pattern))
                if nearby.matches(log, *log.around(match.start(), LINES_BEFORE, LINES_AFTER)) is not wanted:
                    return False
        return True

    def sightings(self) -> Iterator[Sighting]:
        of_linux = TORCH_FOR_LINUX in self.named
        for failure in self.index.table.failures:
            by_package: dict[str | None, list[_Hit]] = defaultdict(list)
            for number, symptom in enumerate(failure.symptoms):
                resolved_at = max((self.last.get(pattern, -1) for pattern in symptom.unless), default=-1)
                for hit in self.hits[failure.id, number]:
                    if hit.place > resolved_at and not (symptom.windows and of_linux):
                        by_package[hit.package].append(hit)
            if len(by_package) > 1:
                by_package.pop(None, None)
            for package, hits in by_package.items():
                yield self._sighting(failure, package, hits)

    def _sighting(self, failure: Failure, package: str | None, hits: list[_Hit]) -> Sighting:
        first = min(hits, key=lambda hit: (hit.symptom.generic, hit.symptom.harmless, hit.warning, hit.place))
        return Sighting(
            failure=failure,
            certain=not first.symptom.generic,
            harmless=all(hit.symptom.harmless for hit in hits),
            warning=first.warning,
            supported=any(not hit.symptom.names or hit.symptom.names in self.named for hit in hits),
            package=package,
            line=first.line,
            text=first.text,
            lines=frozenset(hit.line for hit in hits),
        )


def _hit(log: Log, match: re.Match[str], failure: Failure, symptom: Symptom) -> _Hit | None:
    """The hit at `match`; None if its line only mentions it, or names another package."""
    place = match.start()
    start, end = log.line(place)
    if not symptom.generic and mentioned_only(log.text[start:place]):
        return None
    package = _package(log, match) if failure.names_package or symptom.package else None
    if symptom.package and not compiled(symptom.package).fullmatch(package or ""):
        return None
    return _Hit(
        place=place + log.offset,
        line=log.line_number(place),
        text=shown(log.text[start:end], place - start),
        warning=is_warning(log.text[start:end]),
        package=package if failure.names_package else None,
        symptom=symptom,
    )


def _package(log: Log, match: re.Match[str]) -> str | None:
    """The package that the pattern names, that a frame names, or that the imported module is called after."""
    groups = match.groupdict()
    module = groups.get("module") or ""
    return (
        groups.get("package") or package_at(log, match.start()) or (module if module.lstrip("_C") else None)
    )
