"""What earlier runs left for this one to say: a fix that waits for a restart, a fix that was interrupted. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from doctor.host import Found, Reading, Unreadable
from doctor.models import Finding, Fix
from doctor.runs.history import Run

CLOCK_SECONDS = 30.0  # boot times are worked out from the clock, and that is set right now and then
FAST_STARTUP = " Choose Restart: where Windows' fast startup is on, to shut down is none."


@dataclass(frozen=True)
class Reminders:
    """Lines for the report. `settled` are the runs whose restart has come, and whose changes were looked at again."""

    lines: tuple[str, ...] = ()
    pending_restart: bool = False
    settled: tuple[Run, ...] = ()


def remind(
    runs: Sequence[Run], findings: Sequence[Finding], boot_time: Reading[float], windows: bool
) -> Reminders:
    """Compare what `runs` (newest first) left with what was found now. `boot_time`: seconds since 1970."""
    judged = {finding.check: finding for finding in findings}
    lines = [*_interruptions(runs, judged)]
    pending = False
    settled = []
    for run in runs:
        checks = () if run.restarted else waiting_for_restart(run)
        if not checks:
            continue
        named, restarted = ", ".join(checks), _was_restarted(run, boot_time)
        if restarted is None:
            reason = boot_time.reason if isinstance(boot_time, Unreadable) else "its boot time is not known"
            lines.append(f"{named}: a restart was due, and whether it came cannot be seen: {reason}")
        elif not restarted:
            pending = True
            lines.append(f"{named}: a restart is still due.{FAST_STARTUP if windows else ''}")
        elif not judged.keys() >= set(checks):
            lines.append(f"{named}: this computer was restarted; aios doctor verifies it")
        else:
            settled.append(run)
            wrong = [check for check in checks if is_unsettled(judged[check])]
            right = [check for check in checks if check not in wrong]
            lines += [f"{', '.join(right)}: verified after the restart"] if right else []
            lines += [f"{', '.join(wrong)}: not right after the restart either"] if wrong else []
    return Reminders(tuple(lines), pending, tuple(settled))


def needs_restart(fix: Fix) -> bool:
    """Does what the fix changes count only after a restart, or a new session?"""
    return fix.restart in ("session", "system")


def waiting_for_restart(run: Run) -> tuple[str, ...]:
    """The checks whose fixes the run applied, and that nobody undid, if those count only after a restart."""
    checks: list[str] = []
    for planned in run.plan.fixes:
        done = [e for e in run.entries if e.step.fix == planned.fix.id and e.progress == "done"]
        if any(needs_restart(planned.fix) or entry.restart for entry in done):
            checks += planned.checks
    return tuple(checks)


def is_restart_due(run: Run, boot_time: Reading[float]) -> bool:
    """Does what the run changed still wait for a restart, as far as can be seen?"""
    return bool(waiting_for_restart(run)) and not (run.restarted or _was_restarted(run, boot_time))


def is_in_force_since_a_restart(run: Run, boot_time: Reading[float]) -> bool:
    """Did what the run changed get its restart? Then it takes another one to be rid of it."""
    return bool(waiting_for_restart(run)) and (run.restarted or bool(_was_restarted(run, boot_time)))


def is_unsettled(finding: Finding) -> bool:
    """Would the doctor still want to fix it, or could it not look?"""
    return finding.status == "unknown" or finding.is_automatic


def _was_restarted(run: Run, boot_time: Reading[float]) -> bool | None:
    """None where nobody can tell."""
    if run.plan.boot_time is None or not isinstance(boot_time, Found):
        return None
    return abs(boot_time.value - run.plan.boot_time) > CLOCK_SECONDS


def _interruptions(runs: Sequence[Run], judged: Mapping[str, Finding]) -> Iterator[str]:
    """Fixes that came to no end, where something is left to do and no later run did it."""
    finished: set[str] = set()
    for run in runs:
        if run.ended:
            finished |= run.plan.checks
        left = [c for c in run.plan.checks - finished if c not in judged or is_unsettled(judged[c])]
        if left and not run.ended:
            yield (
                f"A fix was interrupted ({run.folder.name}). To go on: aios doctor fix. "
                f"To put back what it changed: aios doctor undo {run.folder.name}"
            )
