"""The report of a run, its JSON, and its exit status. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from enum import IntEnum
from types import MappingProxyType
from typing import Any

from doctor.host import Identity
from doctor.models import Finding, Report, Summary
from doctor.runs.commands_for_python import finding_for_python
from doctor.runs.machine_summary import machine_of
from doctor.version import aios_version

NOTHING: Mapping[str, Any] = MappingProxyType({})


class ExitStatus(IntEnum):
    """The exit statuses of the doctor's commands."""

    HEALTHY = 0
    FINDINGS = 1
    USAGE = 2
    UNKNOWN = 3
    FIX_FAILED = 4
    RESTART = 5
    INTERRUPTED = 130


def make_report(
    identity: Identity,
    findings: Sequence[Finding],
    *,
    started_at: datetime,
    duration_seconds: float,
    recorded: bool,
    capability_file: str | None = None,
    facts: Mapping[str, Any] = NOTHING,
) -> Report:
    """Make the report of one run. `started_at` is in UTC. `facts`: of the diagnosis, for the head of the report."""
    python = identity.executable if identity.other_python else None
    return Report(
        aios_version=aios_version(),
        started_at=rfc_3339(started_at),
        duration_seconds=round(duration_seconds, 3),
        machine=machine_of(identity, facts, recorded),
        findings=tuple(finding_for_python(each, python) if python else each for each in findings),
        summary=_count(findings),
        capability_file=capability_file,
    )


def report_after_fix(report: Report, findings: Sequence[Finding], pending_restart: bool) -> Report:
    """The report of the same run, with the findings after its fixes."""
    if python := report.machine.environment:
        findings = [finding_for_python(finding, python) for finding in findings]
    update = {"findings": tuple(findings), "summary": _count(findings), "pending_restart": pending_restart}
    return report.model_copy(update=update)


def _count(findings: Sequence[Finding]) -> Summary:
    return Summary.model_validate(Counter(finding.status for finding in findings))


def rfc_3339(moment: datetime) -> str:
    """A moment in UTC, to the second: 2026-11-21T05:30:00Z."""
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def exit_status(report: Report, *, strict: bool = False, fix_failed: bool = False) -> ExitStatus:
    """The exit status of a run. Errors take precedence over what could not be checked."""
    if fix_failed:
        return ExitStatus.FIX_FAILED
    if report.pending_restart:
        return ExitStatus.RESTART
    if report.summary.error or (strict and report.summary.warning):
        return ExitStatus.FINDINGS
    return ExitStatus.UNKNOWN if report.summary.unknown else ExitStatus.HEALTHY
