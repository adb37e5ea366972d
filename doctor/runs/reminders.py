"""What earlier runs left unfinished: fixes that wait for a restart, and fixes that were interrupted. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from doctor.host import Found, Reading, Unreadable
from doctor.models import Finding, Fix
from doctor.runs.history import Run

CLOCK_SECONDS = 30.0  # the boot time is computed from the clock, which is corrected now and then
FAST_STARTUP = " Choose Restart, not Shut down: with fast startup on, shutting down does not restart Windows."


@dataclass(frozen=True)
class Reminders:
    """Lines for the report. `verified` are the runs whose restart came and whose changes were then checked."""

    lines: tuple[str, ...] = ()
    pending_restart: bool = False
    verified: tuple[Run, ...] = ()


def remind(
    runs: Sequence[Run], findings: Sequence[Finding], boot_time: Reading[float], windows: bool
) -> Reminders:
    """Compare the changes of earlier runs with the findings of this one.

    Args:
        runs: newest first.
        findings: of this run.
        boot_time: when the computer was started, in seconds since 1970.
        windows: the machine runs Windows.
    """
    found = {finding.check: finding for finding in findings}
    lines = [*_interruptions(runs, found)]
    pending = False
    verified = []
    for run in runs:
        checks = () if run.restarted else checks_waiting_for_restart(run)
        if not checks:
            continue
        names, restarted = ", ".join(checks), _was_restarted(run, boot_time)
        if restarted is None:
            reason = boot_time.reason if isinstance(boot_time, Unreadable) else "its boot time is not known"
            lines.append(f"{names}: cannot tell whether this computer was restarted since the fix: {reason}")
        elif not restarted:
            pending = True
            lines.append(f"{names}: a restart is still due.{FAST_STARTUP if windows else ''}")
        elif not found.keys() >= set(checks):
            lines.append(f"{names}: this computer was restarted; to verify the fix: aios doctor")
        else:
            verified.append(run)
            lines += _verified_after_restart([found[check] for check in checks])
    return Reminders(tuple(lines), pending, tuple(verified))


def _verified_after_restart(findings: Sequence[Finding]) -> Iterator[str]:
    right = [finding.check for finding in findings if not needs_attention(finding)]
    wrong = [finding.check for finding in findings if needs_attention(finding)]
    if right:
        yield f"{', '.join(right)}: fixed, verified after the restart"
    if wrong:
        yield f"{', '.join(wrong)}: still not fixed after the restart"


def needs_restart(fix: Fix) -> bool:
    """Whether the fix takes effect only after a restart or a new sign-in."""
    return fix.restart in ("session", "system")


def checks_waiting_for_restart(run: Run) -> tuple[str, ...]:
    """The checks whose fixes were applied, are not undone, and take effect only after a restart."""
    checks: list[str] = []
    for planned in run.plan.fixes:
        done = [e for e in run.entries if e.step.fix == planned.fix.id and e.progress == "done"]
        if any(needs_restart(planned.fix) or entry.restart for entry in done):
            checks += planned.checks
    return tuple(checks)


def is_restart_due(run: Run, boot_time: Reading[float]) -> bool:
    """Whether the run's changes still wait for a restart, as far as can be told."""
    return bool(checks_waiting_for_restart(run)) and not (run.restarted or _was_restarted(run, boot_time))


def took_effect_by_restart(run: Run, boot_time: Reading[float]) -> bool:
    """Whether a restart put the run's changes into effect. Undoing them then needs another restart."""
    return bool(checks_waiting_for_restart(run)) and (run.restarted or bool(_was_restarted(run, boot_time)))


def needs_attention(finding: Finding) -> bool:
    """Whether the doctor would fix it again, or could not look."""
    return finding.status == "unknown" or finding.is_automatic


def _was_restarted(run: Run, boot_time: Reading[float]) -> bool | None:
    """Whether the computer was restarted since the run. None if that cannot be told."""
    if run.plan.boot_time is None or not isinstance(boot_time, Found):
        return None
    return abs(boot_time.value - run.plan.boot_time) > CLOCK_SECONDS


def _interruptions(runs: Sequence[Run], found: Mapping[str, Finding]) -> Iterator[str]:
    """Interrupted fixes of which something is left to do that no later run did."""
    finished: set[str] = set()
    for run in runs:
        if run.ended:
            finished |= run.plan.checks
        left = [c for c in run.plan.checks - finished if c not in found or needs_attention(found[c])]
        if left and not run.ended:
            yield (
                f"A fix was interrupted ({run.folder.name}). To finish it: aios doctor fix. "
                f"To undo what it changed: aios undo {run.folder.name}"
            )
