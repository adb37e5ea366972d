"""Look at a machine: diagnose it, keep what its attention backends proved, report, and keep the report."""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from doctor import capability
from doctor.aios_home import is_being_changed, runs_folder
from doctor.check import Check
from doctor.diagnosis import Progress, diagnose
from doctor.fixes.journal import ACTIONS, Journal
from doctor.host import Host
from doctor.models import Finding, Report
from doctor.runs.history import keep, runs_with_changes
from doctor.runs.make_report import make_report
from doctor.runs.proven_backends import assemble, has_proofs
from doctor.runs.reminders import remind


@dataclass(frozen=True)
class Subject:
    """What is looked at, and how: `timeout` is in seconds for each probe, in place of its own."""

    host: Host
    checks: tuple[Check, ...]
    timeout: float | None = None
    recorded: bool = False
    offline: bool = False


@dataclass(frozen=True)
class Examination:
    """The report, and the run's own folder, None where it has none.

    `trouble` says why the capability file could not be written, `forgotten` why the run left no trace: sentences.
    """

    report: Report
    trouble: str | None = None
    interrupted: bool = False
    folder: Path | None = None
    forgotten: str | None = None


def examine(
    subject: Subject, capability_file: Path | None = None, on_progress: Progress | None = None
) -> Examination:
    """Judge the machine. Of the live one keep the report, and what its backends can do if all of them were tried.

    Args:
        subject: the machine and the checks.
        capability_file: where the capability goes, in place of its usual path.
        on_progress: told of every probe that answers.
    """
    host = subject.host
    started_at, start = datetime.now(timezone.utc), time.monotonic()
    diagnosis = diagnose(host, subject.checks, subject.timeout, on_progress, subject.offline)
    written: Path | None = None
    trouble: str | None = None
    if has_proofs(diagnosis.facts) and not (subject.recorded or diagnosis.interrupted):
        path = capability.default_path(capability_file, host)
        proven = assemble(diagnosis.facts, capability.fingerprint(host), datetime.now(timezone.utc))
        try:
            capability.write(path, proven)
            written = path
        except OSError as error:
            trouble = f"Cannot write the capability file {path}: {error.strerror or error}"
    report = make_report(
        host.identity,
        diagnosis.findings,
        started_at=started_at,
        duration_seconds=time.monotonic() - start,
        recorded=subject.recorded,
        capability_file=str(written) if written else None,
    )
    if subject.recorded or diagnosis.interrupted:
        return Examination(report, trouble, diagnosis.interrupted)
    report = reminded(report, host)
    try:
        return Examination(report, trouble, folder=keep(report, host, started_at))
    except OSError as error:
        reason = f"Cannot keep this run in {runs_folder(host)}: {error.strerror or error}"
        return Examination(report, trouble, forgotten=reason)


def reminded(report: Report, host: Host) -> Report:
    """The report with what earlier runs left to say, as far as they can be read."""
    try:
        runs = runs_with_changes(host)
    except OSError:
        return report
    if is_being_changed(host):
        runs = tuple(run for run in runs if run.ended)
    if not runs:
        return report
    reminders = remind(runs, report.findings, host.boot_time(), host.identity.os == "windows")
    for run in reminders.settled:
        with suppress(OSError):  # it will be said again
            Journal(run.folder / ACTIONS).restarted()
    pending = report.pending_restart or reminders.pending_restart
    return report.model_copy(update={"reminders": reminders.lines, "pending_restart": pending})


def not_examined(subject: Subject, reason: str) -> Report:
    """The report of a run that came to no judgement. `reason` is a clause."""
    findings = [
        Finding(check=check.id, status="unknown", summary=f"Could not check: {reason}")
        for check in subject.checks
    ]
    return make_report(
        subject.host.identity,
        findings,
        started_at=datetime.now(timezone.utc),
        duration_seconds=0.0,
        recorded=subject.recorded,
    )
