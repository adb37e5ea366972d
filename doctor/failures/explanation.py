"""The explanation of a log: the failures found in it, and what the checks find on this machine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from doctor.failures.match import Sighting
from doctor.failures.order import arrange
from doctor.failures.table import FailureTable
from doctor.host import Frozen
from doctor.models import Finding, Status


class LocalFinding(Frozen):
    """The result of a failure's check on this machine."""

    status: Status
    summary: str


class LogMatch(Frozen):
    """A known failure, and the line of the log that shows it.

    Attributes:
        package: the package that the log names as the one that fails.
        harmless: a warning that breaks nothing by itself.
        check: the check that predicts it; null: no check can.
    """

    id: str
    title: str
    package: str | None
    line: int
    text: str
    cause: str
    fix: str
    harmless: bool
    check: str | None
    finding: LocalFinding | None


class LogExplanation(Frozen):
    """The output of `aios doctor explain-log --json`: root cause first."""

    schema_version: Literal[1] = 1
    matches: tuple[LogMatch, ...]


class Explained(Frozen):
    """A match, as the console shows it.

    Attributes:
        certain: its line of the log shows no other failure.
        depth: the number of its causes in the log.
        link: where to read more.
    """

    match: LogMatch
    certain: bool
    depth: int
    link: str | None


def explain(
    sightings: Sequence[Sighting], table: FailureTable, findings: Mapping[str, Finding]
) -> tuple[Explained, ...]:
    """Arrange the failures found in a log, root cause first. `findings`: of this machine, by check."""
    failing = {name for name, finding in findings.items() if _fails(finding)}
    explained = []
    for place in arrange(sightings, table, failing):
        seen, failure = place.sighting, place.sighting.failure
        finding = findings.get(failure.check or "")
        match = LogMatch(
            id=failure.id,
            title=failure.text(failure.title, seen.package),
            package=seen.package,
            line=seen.line,
            text=seen.text,
            cause=failure.text(failure.cause, seen.package),
            fix=failure.text(failure.fix, seen.package),
            harmless=seen.harmless,
            check=failure.check,
            finding=LocalFinding(status=finding.status, summary=finding.summary) if finding else None,
        )
        explained.append(
            Explained(
                match=match,
                certain=place.certain,
                depth=place.depth,
                link=failure.link,
            )
        )
    return tuple(explained)


def _fails(finding: Finding) -> bool:
    return finding.status in ("error", "warning") or finding.because_of is not None
