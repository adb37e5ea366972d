"""A fix run around the executor: its plan on record, and the verification by making the checks again."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from doctor.aios_home import changing_alone, new_run_folder
from doctor.diagnosis import diagnose, with_causes
from doctor.fixes.executor import execute
from doctor.fixes.journal import ACTIONS, Journal, StepOutcome
from doctor.fixes.plan import Plan
from doctor.host import Found
from doctor.models import Finding
from doctor.runs.doctor_run import Subject
from doctor.runs.history import RecordedPlan, keep_plan
from doctor.runs.reminders import is_unsettled, needs_restart


@dataclass(frozen=True)
class FixRun:
    """What became of a plan. `findings` are those of the diagnosis, where the fixes could change them judged again."""

    folder: Path
    outcomes: tuple[StepOutcome, ...]
    findings: tuple[Finding, ...]
    failed: bool
    pending_restart: bool


def carry_out(plan: Plan, findings: Sequence[Finding], subject: Subject, folder: Path | None) -> FixRun:
    """Apply `plan`, made from `findings`, and verify it by the same checks.

    Args:
        plan: what to do.
        findings: of the diagnosis.
        subject: what the diagnosis looked at.
        folder: the diagnosis' own, which becomes that of the fix; None makes a new one.

    Raises OSError where no run can be recorded, HeldError where another process is changing the machine: then nothing
    was changed.
    """
    host = subject.host
    with changing_alone(host):
        folder = folder or new_run_folder(host, datetime.now(timezone.utc))
        boot = host.boot_time()
        boot_time = boot.value if isinstance(boot, Found) else None
        keep_plan(RecordedPlan(fixes=plan.fixes, left=plan.left, boot_time=boot_time), folder)
        outcomes = execute(plan, host, folder)
        with suppress(OSError):  # it will be called interrupted
            Journal(folder / ACTIONS).ended()

    planned = {check for one in plan.fixes for check in one.checks}
    again = _judged_again(subject, planned)
    unsettled = {finding.check for finding in again.values() if is_unsettled(finding)}
    failed = any(outcome.result == "failed" for outcome in outcomes)
    pending_restart = False
    for one in plan.fixes:
        mine = [outcome for outcome in outcomes if outcome.step.fix == one.fix.id]
        waits = needs_restart(one.fix) or any(outcome.restart for outcome in mine)
        pending_restart |= waits and any(outcome.result == "applied" for outcome in mine)
        seen_later = waits or one.fix.restart == "shell"
        failed |= not seen_later and all(o.succeeded for o in mine) and not unsettled.isdisjoint(one.checks)
    after = {finding.check: finding for finding in findings} | again
    return FixRun(folder, outcomes, tuple(after.values()), failed, pending_restart)


def _judged_again(subject: Subject, planned: Collection[str]) -> dict[str, Finding]:
    """The planned checks' findings, and those of all that may have failed because of them, by check."""
    concerned = [
        check
        for check in with_causes(subject.checks)
        if any(cause.id in planned for cause in with_causes([check]))
    ]
    again = diagnose(subject.host, concerned, subject.timeout, offline=subject.offline)
    return {finding.check: finding for finding in again.findings}
