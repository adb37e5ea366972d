"""Look at a machine: diagnose it, keep what its attention backends proved, and report."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from doctor import capability
from doctor.assembly import assemble, has_proofs
from doctor.check import Check
from doctor.diagnosis import Progress, diagnose
from doctor.host import Host
from doctor.models import Finding, Report
from doctor.report.build import make_report


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
    """The report, and why the capability file could not be written: a sentence, None if all went well."""

    report: Report
    trouble: str | None = None
    interrupted: bool = False


def examine(
    subject: Subject, capability_file: Path | None = None, on_progress: Progress | None = None
) -> Examination:
    """Judge the machine; write its capability file if the proofs of all backends were tried and it is the live one.

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
    return Examination(report, trouble, diagnosis.interrupted)


def not_examined(subject: Subject, reason: str) -> Report:
    """The report of a run that came to no judgement. `reason` is a clause."""
    findings = [
        Finding(check=check.id, status="unknown", summary=f"Could not look: {reason}")
        for check in subject.checks
    ]
    return make_report(
        subject.host.identity,
        findings,
        started_at=datetime.now(timezone.utc),
        duration_seconds=0.0,
        recorded=subject.recorded,
    )
