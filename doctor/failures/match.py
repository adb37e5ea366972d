"""The search for known failures in a log: their symptoms are matched against its lines."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache

from doctor.failures.events import is_warning, mentioned_only, package_at
from doctor.failures.literal import bounded, literal, starts_with_literal
from doctor.failures.log import WIDTH, Log, shown
from doctor.failures.prefilter import Prefilter
from doctor.failures.table import Failure, FailureTable, Symptom

LINES_BEFORE, LINES_AFTER = 60, 20  # `near`: an error ends a traceback, a list follows its heading
MAX_LINES = 200  # lines per symptom; more repetitions add nothing
MAX_MATCHES = 5_000  # matches per symptom that are examined
MAX_TRIES = 50  # lines, from the end of a piece, that are searched for `unless`
IN_LINE = 8  # occurrences of a pattern's fixed text in a line that are examined
REACH = 1_200  # characters before and after its fixed text that a pattern can match
OVERLAP = 400  # characters that are searched again, for a match that ends after the region searched before
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


class _Nearby:
    """Whether a pattern matches near places that come in their order: each part of a text is searched once."""

    def __init__(self, pattern: str) -> None:
        self.expression = _compiled(pattern)
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


class _Search:
    """The hits of a table's symptoms in the pieces of one log."""

    def __init__(self, table: FailureTable) -> None:
        self.table = table
        self.hits: dict[tuple[str, int], list[_Hit]] = defaultdict(
            list
        )  # by failure and number of the symptom
        self.tries: dict[tuple[str, int], int] = defaultdict(int)  # matches, by the same keys
        self.last: dict[
            str, int
        ] = {}  # patterns after which a symptom before does not count: their last place
        self.named: set[str] = set()  # patterns of packages that the log names
        symptoms = [symptom for failure in table.failures for symptom in failure.symptoms]
        self.ends = _by_literal({pattern for symptom in symptoms for pattern in symptom.unless})
        self.names = _by_literal({symptom.names for symptom in symptoms if symptom.names} | {TORCH_FOR_LINUX})
        self.symptoms: dict[str, list[tuple[Failure, int, Symptom]]] = defaultdict(list)
        for failure in table.failures:
            for number, symptom in enumerate(failure.symptoms):
                self.symptoms[literal(symptom.pattern)].append((failure, number, symptom))
        self.prefilter = Prefilter({*self.symptoms, *self.ends, *self.names})
        self.nearby: dict[tuple[str, int, str], _Nearby] = {}

    def add(self, log: Log) -> None:
        searched = log.searched[max(log.start - WIDTH, 0) : log.stop + WIDTH]
        for needed in self.prefilter.candidates(searched):
            if log.searched.find(needed, log.start, log.stop) < 0:
                continue
            for failure, number, symptom in self.symptoms.get(needed, ()):
                self._add_hits(log, failure, number, symptom)
            for pattern in self.ends.get(needed, ()):
                if (place := _last_place(log, pattern)) >= 0:
                    self.last[pattern] = place + log.offset
            for pattern in self.names.get(needed, ()):
                if pattern not in self.named and next(_places(log, pattern), None) is not None:
                    self.named.add(pattern)

    def _add_hits(self, log: Log, failure: Failure, number: int, symptom: Symptom) -> None:
        hits = self.hits[failure.id, number]
        if len(hits) == MAX_LINES or self.tries[failure.id, number] == MAX_MATCHES:
            return
        for match in _places(log, symptom.pattern):
            if len(hits) == MAX_LINES or self.tries[failure.id, number] == MAX_MATCHES:
                return
            self.tries[failure.id, number] += 1
            if self._stands_alone(log, match, failure, number, symptom) and (
                hit := _hit(log, match, failure, symptom)
            ):
                hits.append(hit)

    def _stands_alone(
        self, log: Log, match: re.Match[str], failure: Failure, number: int, symptom: Symptom
    ) -> bool:
        """Whether nothing near `match` speaks against the symptom."""
        for pattern, wanted in ((symptom.near, True), (symptom.not_near, False)):
            if pattern:
                key = failure.id, number, pattern
                nearby = self.nearby.setdefault(key, _Nearby(pattern))
                if nearby.matches(log, *log.around(match.start(), LINES_BEFORE, LINES_AFTER)) is not wanted:
                    return False
        return True

    def sightings(self) -> Iterator[Sighting]:
        of_linux = TORCH_FOR_LINUX in self.named
        for failure in self.table.failures:
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
    if symptom.package and not _compiled(symptom.package).fullmatch(package or ""):
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
    return groups.get("package") or package_at(log, match.start()) or (module.lstrip("_") and module) or None


def _by_literal(patterns: Iterable[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = defaultdict(list)
    for pattern in sorted(patterns):
        found[literal(pattern)].append(pattern)
    return found


@cache
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(bounded(pattern))


@cache
def _parts(pattern: str) -> tuple[re.Pattern[str], str, bool]:
    """The expression of a pattern, its fixed text, and whether it starts with that."""
    return _compiled(pattern), literal(pattern), starts_with_literal(pattern)


def _places(log: Log, pattern: str) -> Iterator[re.Match[str]]:
    """The matches of `pattern`, at most one per line."""
    needed, place = _parts(pattern)[1], log.start
    while (place := log.searched.find(needed, place, log.stop)) >= 0:
        start, end = log.line(place)
        if match := _in_line(log, pattern, place, start, end):
            yield match
        place = max(end, place + 1)


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


def _last_place(log: Log, pattern: str) -> int:
    """The place of the last match of `pattern`; -1 if there is none."""
    needed, place = _parts(pattern)[1], log.stop
    for _ in range(MAX_TRIES):
        place = log.searched.rfind(needed, log.start, place)
        if place < 0:
            return -1
        start, end = log.line(place)
        if match := _in_line(log, pattern, place, start, end):
            return match.start()
    return -1
