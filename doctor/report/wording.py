"""The words that all human-readable reports share."""

from __future__ import annotations

from doctor.check import SYSTEMS
from doctor.models import Evidence, Finding, Report, Status

WORST_FIRST: tuple[Status, ...] = ("error", "unknown", "warning", "info", "ok", "skipped")
OPEN: tuple[Status, ...] = ("error", "unknown", "warning")


def is_automatic(finding: Finding) -> bool:
    """Can the doctor fix it?"""
    return bool(finding.fix and finding.fix.actions and finding.fix.applicability != "manual")


def what_to_do(finding: Finding) -> str:
    """One line, empty where there is nothing to do."""
    if finding.status not in OPEN:
        return ""
    if is_automatic(finding):
        command = f"aios doctor fix {finding.check}"
        return f"{finding.hint.rstrip('.')}: {command}" if finding.hint else command
    return finding.hint or ("; ".join(finding.fix.commands) if finding.fix else "")


def evidence_line(evidence: Evidence) -> str:
    """Where it was read, what it is called there, and what it was."""
    value = evidence.value
    shown = "absent" if value is None else ", ".join(value) if isinstance(value, list) else str(value)
    return f"{evidence.source} {evidence.name}: {shown}"


def machine_line(report: Report) -> str:
    """Which machine was looked at."""
    machine = report.machine
    system = SYSTEMS[machine.os]
    rights = ", administrator" if machine.elevated else ""
    recorded = " (recorded machine)" if machine.recorded else ""
    return f"{system} {machine.os_build}, {machine.architecture}, Python {machine.python}{rights}{recorded}"


def counts(report: Report) -> str:
    """ "1 error, 2 warnings, 12 ok": what there is of each status, worst first."""
    number_of = report.summary.model_dump()
    plural = {"error": "errors", "warning": "warnings"}
    named = [f"{n} {plural[s] if n > 1 and s in plural else s}" for s in WORST_FIRST if (n := number_of[s])]
    return ", ".join(named) or "no checks"


def next_step(report: Report) -> str:
    """The last line of a report."""
    if report.pending_restart:
        return "Next: restart this computer to finish, then run: aios doctor"
    open_findings = [finding for finding in report.findings if finding.status in OPEN]
    if any(is_automatic(finding) for finding in open_findings):
        return "Next: aios doctor fix"
    if report.summary.error or report.summary.warning:
        return "Next: do what is said above, then run: aios doctor"
    if open_findings:
        return "Next: see above what could not be looked at"
    return "Nothing to fix. Next: aios train --config FILE"
