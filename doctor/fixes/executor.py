"""The only writer: applies the steps of a plan, or puts back what a run changed, and journals every move."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from doctor.actions import UnreadableStateError
from doctor.actions.installer_exit_codes import APPLIED, Ending
from doctor.fixes.elevation import in_elevated_child
from doctor.fixes.journal import ACTIONS, Entry, Journal, Outcome, entries
from doctor.fixes.plan import Plan, Step
from doctor.host import Host, Reader


def execute(plan: Plan, host: Host, run_folder: Path) -> tuple[Outcome, ...]:
    """Apply the plan. What needs an administrator goes to one elevated child where this process is none."""
    theirs = [step for step in plan.steps if step.action.needs_elevation and not host.identity.elevated]
    ours = [step for step in plan.steps if step not in theirs]
    outcomes: tuple[Outcome, ...] = ()
    if theirs:
        fixes = sorted({step.fix for step in theirs})
        checks = [check for p in plan.fixes if p.fix.id in fixes for check in p.checks]
        named = [part for check in checks for part in ("--check", check)]
        outcomes = in_elevated_child(["apply-elevated", *fixes, *named], theirs, host, run_folder)
    broken = {outcome.step.fix for outcome in outcomes if not outcome.stands}
    return (*outcomes, *apply_steps(ours, host, Journal(run_folder / ACTIONS), broken))


def apply_steps(
    steps: Sequence[Step], host: Host, journal: Journal, broken: Collection[str] = ()
) -> tuple[Outcome, ...]:
    """Apply `steps` in order. A step that fails ends its fix (`broken` names those that are ended), not the others."""
    ended = set(broken)
    outcomes = []
    for step in steps:
        if step.fix in ended:
            outcome = Outcome(step=step, result="refused", reason="another step of this fix was not applied")
        else:
            outcome = _apply(step, host, journal)
        if not outcome.stands:
            ended.add(step.fix)
        outcomes.append(outcome)
    return tuple(outcomes)


def _apply(step: Step, host: Host, journal: Journal) -> Outcome:
    try:
        before = step.action.read(host)
    except UnreadableStateError as error:
        return Outcome(step=step, result="failed", reason=f"its present state cannot be read: {error}")
    if step.action.is_met_by(before):
        return Outcome(step=step, result="already so")
    try:
        journal.intend(step, step.action.inverse(before))
        ending, now = _change(step, host)
        if ending.result == "applied":
            journal.done(step, step.action.inverse(now), ending.restart)
        elif ending.result == "already so":
            journal.undone(step)
        else:
            journal.failed(step, ending.reason)
    except OSError as error:
        ending = _no_journal(error)
    return _outcome(step, ending)


def _change(step: Step, host: Host) -> tuple[Ending, Any]:
    """Bring the step's state about, and read it back unless the action itself says what came of it."""
    try:
        ending = step.action.apply(host)
        now = step.action.read(host)
    except (OSError, UnreadableStateError) as error:
        return Ending("failed", f"{type(error).__name__}: {error}"), None
    if ending is None and not step.action.is_met_by(now):
        ending = Ending("failed", f"afterwards it is {step.action.show(now)}")
    return ending or APPLIED, now


def _no_journal(error: OSError) -> Ending:
    return Ending("failed", f"the journal cannot be written: {error}")


def _outcome(step: Step, ending: Ending) -> Outcome:
    return Outcome(step=step, result=ending.result, reason=ending.reason, restart=ending.restart)


def standing(run_folder: Path, host: Reader) -> tuple[Entry, ...]:
    """What the run changed and is not undone, newest first.

    A step that failed or was interrupted counts where its target is not as it was before. Raises OSError.
    """

    def stands(entry: Entry) -> bool:
        if entry.progress in ("done", "undone", "left"):
            return entry.progress == "done"
        if entry.step.action.undone_by_hand:
            return entry.progress == "intended"  # nobody can see how far it came
        try:
            return not entry.inverse.is_already_so(host)
        except UnreadableStateError:
            return True

    return tuple(entry for entry in reversed(entries(run_folder)) if stands(entry))


def undo(run_folder: Path, host: Host) -> tuple[Outcome, ...]:
    """Put back what the run changed, backwards; the steps of the outcomes are the inverse ones. Raises OSError."""
    undoable = standing(run_folder, host)
    theirs = [e for e in undoable if e.step.action.needs_elevation and not host.identity.elevated]
    ours = [entry for entry in undoable if entry not in theirs]
    outcomes = put_back(ours, host, Journal(run_folder / ACTIONS))
    if theirs:
        steps = [entry.back for entry in theirs]
        command = ["undo-elevated", str(run_folder)]
        outcomes = (*outcomes, *in_elevated_child(command, steps, host, run_folder))
    if undoable:
        with suppress(OSError):  # a run that was interrupted will be called so again
            Journal(run_folder / ACTIONS).ended()
    return outcomes


def put_back(undoable: Sequence[Entry], host: Host, journal: Journal) -> tuple[Outcome, ...]:
    """Put the earlier states back, in the order given. Refuses where someone else changed one since."""
    return tuple(_put_back(entry, host, journal) for entry in undoable)


def _put_back(entry: Entry, host: Host, journal: Journal) -> Outcome:
    try:
        ending = _taken_back(entry, host)
        if entry.step.action.undone_by_hand:
            journal.left(entry.back)
        elif ending.result in ("applied", "already so"):
            journal.undone(entry.back)
    except UnreadableStateError as error:
        ending = Ending("failed", f"its present state cannot be read: {error}")
    except OSError as error:
        ending = _no_journal(error)
    return _outcome(entry.back, ending)


def _taken_back(entry: Entry, host: Host) -> Ending:
    """Put the earlier state back, if it is for the doctor to do. Raises UnreadableStateError."""
    if by_hand := entry.step.action.undone_by_hand:
        return Ending("refused", f"only a person can undo it: {by_hand}")
    left = entry.after or entry.step.action
    now = entry.inverse.read(host)
    if entry.inverse.is_met_by(now):
        return Ending("already so")
    if not left.is_met_by(now):
        return Ending(
            "refused",
            "someone else changed it since: "
            f"the run left it {left.show(left.state)}, now it is {left.show(now)}",
        )
    return _change(entry.back, host)[0]
