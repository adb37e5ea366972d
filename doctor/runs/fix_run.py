"""One fix run: save the plan, apply it, and verify it by running the checks again."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from doctor.aios_home import changing_alone
from doctor.diagnosis import diagnose, with_causes
from doctor.fixes.executor import execute
from doctor.fixes.journal import ACTIONS, Journal, StepOutcome
from doctor.fixes.plan import Plan
from doctor.host import Found
from doctor.models import Finding
from doctor.runs.doctor_run import Target
from doctor.runs.history import RecordedPlan, save_plan
from doctor.runs.reminders import needs_attention, needs_restart
from doctor.runs.run_folders import new_run_folder


@dataclass(frozen=True)
class FixRun:
    """The result of a fix run.

    Attributes:
        findings: those of the diagnosis, replaced by new ones where the fixes could change them.
        failed: a step failed, or a check still finds what its fix should have fixed.
    """

    folder: Path
    outcomes: tuple[StepOutcome, ...]
    findings: tuple[Finding, ...]
    failed: bool
    pending_restart: bool


def run_fix(plan: Plan, findings: Sequence[Finding], target: Target, folder: Path | None) -> FixRun:
    """Apply `plan` and run the checks again.

    Args:
        plan: the fixes, made from `findings`.
        findings: of the diagnosis.
        target: what was diagnosed.
        folder: the run folder of the diagnosis, which the fix run shares; None: create one.

    Raises:
        OSError: the run cannot be recorded. Nothing was changed.
        HeldError: another process is changing the machine. Nothing was changed.
    """
    host = target.host
    with changing_alone(host):
        folder = folder or new_run_folder(host, datetime.now(timezone.utc))
        boot = host.boot_time()
        boot_time = boot.value if isinstance(boot, Found) else None
        there = host.identity if host.identity.other_python else None
        recorded = RecordedPlan(
            fixes=plan.fixes,
            left=plan.left,
            boot_time=boot_time,
            python=there.executable if there else None,
            prefix=there.prefix if there else None,
        )
        save_plan(recorded, folder)
        outcomes = execute(plan, host, folder)
        with suppress(OSError):  # the next run then calls this one interrupted
            Journal(folder / ACTIONS).ended()

    rechecked = _recheck(target, {check for planned in plan.fixes for check in planned.checks})
    wrong = {finding.check for finding in rechecked.values() if needs_attention(finding)}
    failed = any(outcome.result == "failed" for outcome in outcomes)
    pending_restart = False
    for planned in plan.fixes:
        own = [outcome for outcome in outcomes if outcome.step.fix == planned.fix.id]
        after_restart = needs_restart(planned.fix) or any(outcome.restart for outcome in own)
        pending_restart |= after_restart and any(outcome.result == "applied" for outcome in own)
        verifiable = not after_restart and planned.fix.restart != "shell"
        failed |= verifiable and all(o.succeeded for o in own) and not wrong.isdisjoint(planned.checks)
    after = {finding.check: finding for finding in findings} | rechecked
    return FixRun(folder, outcomes, tuple(after.values()), failed, pending_restart)


def _recheck(target: Target, planned: Collection[str]) -> dict[str, Finding]:
    """New findings, by check: those of the planned checks, and of the checks that may have failed because of them."""
    concerned = [
        check
        for check in with_causes(target.checks)
        if any(cause.id in planned for cause in with_causes([check]))
    ]
    diagnosis = diagnose(target.host, concerned, target.timeout, offline=target.offline)
    return {finding.check: finding for finding in diagnosis.findings}
