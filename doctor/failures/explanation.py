"""What the doctor says of a log: the failures seen in it, with what this machine's checks find. Printed as JSON, too."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Literal

from doctor.failures.match import Sighting
from doctor.failures.order import arrange
from doctor.failures.table import FailureTable
from doctor.host import Frozen
from doctor.models import Finding, Status


class Here(Frozen):
    """What the check of a failure finds on this machine."""

    status: Status
    summary: str


class LogMatch(Frozen):
    """One known failure, and the line of the log that tells it. `check` sees it before it happens; null: none can."""

    id: str
    title: str
    line: int
    text: str
    cause: str
    fix: str
    check: str | None
    finding: Here | None


class LogExplanation(Frozen):
    """`aios doctor explain-log --json` prints exactly this: root cause first."""

    schema_version: Literal[1] = 1
    matches: tuple[LogMatch, ...]


class Explained(Frozen):
    """A match for a person: `depth` is how many causes stand above it; not `certain`: others leave this line, too."""

    match: LogMatch
    certain: bool
    harmless: bool
    depth: int
    link: str | None


def explain(
    sightings: Sequence[Sighting], table: FailureTable, findings: Mapping[str, Finding]
) -> tuple[Explained, ...]:
    """Everything there is to say of what was seen. `findings` of this machine, by check."""
    failing = {name for name, finding in findings.items() if _fails(finding)}
    explained = []
    for place in arrange(sightings, table, failing):
        seen, failure = place.sighting, place.sighting.failure
        finding = findings.get(failure.check or "")
        match = LogMatch(
            id=failure.id,
            title=failure.title,
            line=seen.line,
            text=seen.text,
            cause=failure.cause,
            fix=failure.fix,
            check=failure.check,
            finding=Here(status=finding.status, summary=finding.summary) if finding else None,
        )
        explained.append(
            Explained(
                match=match,
                certain=place.certain,
                harmless=seen.harmless,
                depth=place.depth,
                link=failure.link,
            )
        )
    return tuple(explained)


def to_json(explanation: LogExplanation) -> str:
    """ASCII, so that a pipe of any encoding can carry it."""
    return json.dumps(explanation.model_dump(mode="json"), indent=2) + "\n"


def _fails(finding: Finding) -> bool:
    return finding.status in ("error", "warning") or finding.because_of is not None
