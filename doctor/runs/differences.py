"""The differences between the reports of two runs. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from doctor.models import Finding, Report


@dataclass(frozen=True)
class ChangedFact:
    """A fact about the machine, or the version of aios, that differs."""

    name: str
    before: str
    after: str


@dataclass(frozen=True)
class ChangedFinding:
    """A check's findings before and after; None where the check did not run."""

    check: str
    before: Finding | None
    after: Finding | None


@dataclass(frozen=True)
class Difference:
    """Facts in the order of the report, findings in the order of the checks."""

    facts: tuple[ChangedFact, ...]
    findings: tuple[ChangedFinding, ...]


def difference(before: Report, after: Report) -> Difference:
    """Compare two reports: the machine's facts, and each check's status, summary and measured value."""
    then, now = _facts(before), _facts(after)
    found_then = {finding.check: finding for finding in before.findings}
    found_now = {finding.check: finding for finding in after.findings}
    findings = (
        ChangedFinding(check, found_then.get(check), found_now.get(check))
        for check in dict.fromkeys((*found_now, *found_then))
    )
    return Difference(
        tuple(ChangedFact(name, then[name], now[name]) for name in now if then[name] != now[name]),
        tuple(each for each in findings if _compared(each.before) != _compared(each.after)),
    )


def _facts(report: Report) -> dict[str, str]:
    machine = report.machine.model_dump()
    return {name: str(value) for name, value in {**machine, "aios": report.aios_version}.items()}


def _compared(finding: Finding | None) -> tuple[str, ...] | None:
    return (finding.status, finding.summary, finding.measured) if finding else None
