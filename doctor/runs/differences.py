"""What differs between the reports of two runs. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from doctor.models import Finding, Report


@dataclass(frozen=True)
class Fact:
    """A fact about the machine, or about the doctor, that was another one before."""

    name: str
    before: str
    after: str


@dataclass(frozen=True)
class Change:
    """What a check found before and after; None where it was not made."""

    check: str
    before: Finding | None
    after: Finding | None


@dataclass(frozen=True)
class Difference:
    """Facts in the order of the report, findings in the order of the checks."""

    facts: tuple[Fact, ...]
    changes: tuple[Change, ...]


def difference(before: Report, after: Report) -> Difference:
    """Compare two reports: the machine, and each check's status and words."""
    then, now = _facts(before), _facts(after)
    found_then = {finding.check: finding for finding in before.findings}
    found_now = {finding.check: finding for finding in after.findings}
    changes = (
        Change(check, found_then.get(check), found_now.get(check))
        for check in dict.fromkeys((*found_now, *found_then))
    )
    return Difference(
        tuple(Fact(name, then[name], now[name]) for name in now if then[name] != now[name]),
        tuple(change for change in changes if _said(change.before) != _said(change.after)),
    )


def _facts(report: Report) -> dict[str, str]:
    machine = report.machine.model_dump()
    return {name: str(value) for name, value in {**machine, "aios": report.aios_version}.items()}


def _said(finding: Finding | None) -> tuple[str, ...] | None:
    return (finding.status, finding.summary, finding.measured) if finding else None
