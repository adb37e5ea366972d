"""One run of `aios doctor`: diagnose, write the capability file, make the report, and save it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from doctor import capability
from doctor.aios_home import is_being_changed
from doctor.check import Check
from doctor.diagnosis import Progress, diagnose
from doctor.fixes.journal import ACTIONS, Journal
from doctor.host import Host
from doctor.models import Finding, Report
from doctor.runs.history import runs_with_changes, save_run
from doctor.runs.make_report import make_report
from doctor.runs.proven_backends import has_all_proofs, proven_capability
from doctor.runs.reminders import remind
from doctor.runs.run_folders import runs_folder


@dataclass(frozen=True)
class Target:
    """The machine to diagnose, the checks to run, and how to run them.

    Attributes:
        timeout: seconds for each probe; None: each probe's own limit.
        recorded: the host is a recorded machine. Nothing is written for it.
        offline: skip what uses the network.
    """

    host: Host
    checks: tuple[Check, ...]
    timeout: float | None = None
    recorded: bool = False
    offline: bool = False


@dataclass(frozen=True)
class DoctorRun:
    """The result of a run.

    Attributes:
        capability_error: why the capability file could not be written, a sentence.
        interrupted: Ctrl-C ended the diagnosis early.
        folder: where the run is saved; None if it is not.
        save_error: why the run could not be saved, a sentence.
    """

    report: Report
    capability_error: str | None = None
    interrupted: bool = False
    folder: Path | None = None
    save_error: str | None = None


def run_doctor(
    target: Target, capability_file: Path | None = None, on_progress: Progress | None = None
) -> DoctorRun:
    """Diagnose the machine. If it is the live one, save the report, and the capability file if all backends were tried.

    Args:
        target: the machine and the checks.
        capability_file: where to write the capability file; None: its default path.
        on_progress: called for every probe that finishes.
    """
    host = target.host
    started_at, start = datetime.now(timezone.utc), time.monotonic()
    diagnosis = diagnose(host, target.checks, target.timeout, on_progress, target.offline)
    saved = not (target.recorded or diagnosis.interrupted)
    path = capability.default_path(capability_file, host)
    proven = saved and has_all_proofs(diagnosis.facts)
    capability_error = _write_capability(path, diagnosis.facts, host) if proven else None
    report = make_report(
        host.identity,
        diagnosis.findings,
        started_at=started_at,
        duration_seconds=time.monotonic() - start,
        recorded=target.recorded,
        capability_file=str(path) if proven and not capability_error else None,
        facts=diagnosis.facts,
    )
    if not saved:
        return DoctorRun(report, interrupted=diagnosis.interrupted)
    report = with_reminders(report, host)
    try:
        return DoctorRun(report, capability_error, folder=save_run(report, host, started_at))
    except OSError as error:
        reason = f"Cannot save this run in {runs_folder(host)}: {error.strerror or error}"
        return DoctorRun(report, capability_error, save_error=reason)


def _write_capability(path: Path, facts: Mapping[str, Any], host: Host) -> str | None:
    """Write what the backends can do. Gives the reason if the file cannot be written."""
    proven = proven_capability(facts, capability.fingerprint(host), datetime.now(timezone.utc))
    try:
        capability.write(path, proven, host)
    except OSError as error:
        return f"Cannot write the capability file {path}: {error.strerror or error}"
    return None


def with_reminders(report: Report, host: Host) -> Report:
    """`report` with the reminders of earlier runs: restarts that are due, fixes that were interrupted."""
    try:
        runs = runs_with_changes(host)
    except OSError:
        return report
    if is_being_changed(host):
        runs = tuple(run for run in runs if run.ended)
    if not runs:
        return report
    reminders = remind(runs, report.findings, host.boot_time(), host.identity.os == "windows")
    for run in reminders.verified:
        with suppress(OSError):  # the next run verifies it, and says so, once more
            Journal(run.folder / ACTIONS).restarted()
    pending = report.pending_restart or reminders.pending_restart
    return report.model_copy(update={"reminders": reminders.lines, "pending_restart": pending})


def report_of_failure(target: Target, reason: str) -> Report:
    """The report of a run that ended before its findings were known. `reason` is a clause."""
    findings = [
        Finding(check=check.id, status="unknown", summary=f"Could not check: {reason}")
        for check in target.checks
    ]
    return make_report(
        target.host.identity,
        findings,
        started_at=datetime.now(timezone.utc),
        duration_seconds=0.0,
        recorded=target.recorded,
    )
