"""Applies the steps of a plan or undoes those of a run, and journals each one. Nothing else applies actions."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from doctor.actions import Action, UnreadableStateError
from doctor.actions.outcome import Outcome
from doctor.fixes.elevation import apply_elevated, undo_elevated
from doctor.fixes.journal import ACTIONS, Entry, Journal, StepOutcome, entries
from doctor.fixes.plan import Plan, Step
from doctor.host import Host, Reader


def execute(plan: Plan, host: Host, run_folder: Path) -> tuple[StepOutcome, ...]:
    """Apply the plan. If this process is not elevated, the steps that need it are applied first, with one prompt."""
    journal = Journal(run_folder / ACTIONS)
    elevated = [step for step in plan.steps if step.action.needs_elevation and not host.identity.elevated]
    own = [step for step in plan.steps if step not in elevated]
    outcomes = apply_elevated(elevated, host, journal)
    broken = {outcome.step.fix for outcome in outcomes if not outcome.succeeded}
    return (*outcomes, *apply_steps(own, host, journal, broken))


def apply_steps(
    steps: Sequence[Step], host: Host, journal: Journal, broken: Collection[str] = ()
) -> tuple[StepOutcome, ...]:
    """Apply `steps` in order. After a failure the other steps of that fix are refused.

    Args:
        broken: ids of fixes of which a step has failed already.
    """
    failed = set(broken)
    outcomes = []
    for step in steps:
        if step.fix in failed:
            outcome = StepOutcome(
                step=step, result="refused", reason="another step of this fix was not applied"
            )
        else:
            outcome = _apply(step, host, journal)
        if not outcome.succeeded:
            failed.add(step.fix)
        outcomes.append(outcome)
    return tuple(outcomes)


def _apply(step: Step, host: Host, journal: Journal) -> StepOutcome:
    try:
        before = step.action.read(host)
    except UnreadableStateError as error:
        return StepOutcome(step=step, result="failed", reason=f"cannot read the present state: {error}")
    if step.action.is_met_by(before):
        return StepOutcome(step=step, result="already so")
    try:
        journal.intend(step, step.action.inverse(before))
        outcome, now = _change(step, host)
        if outcome.result == "applied":
            journal.done(step, step.action.inverse(now), outcome.restart)
        elif outcome.result == "already so":
            journal.undone(step)
        else:
            journal.failed(step, outcome.reason)
    except OSError as error:
        outcome = _no_journal(error)
    return StepOutcome.of(step, outcome)


def _change(step: Step, host: Host) -> tuple[Outcome, Any]:
    """Apply the step. Return its outcome and the state that was read back; the state decides unless the action does."""
    try:
        outcome = step.action.apply(host)
        now = step.action.read(host)
    except (OSError, UnreadableStateError) as error:
        return Outcome(result="failed", reason=f"{type(error).__name__}: {error}"), None
    if outcome is None and not step.action.is_met_by(now):
        reason = f"the change did not take effect: it is still {step.action.show(now)}"
        return Outcome(result="failed", reason=reason), now
    return outcome or Outcome(result="applied"), now


def _no_journal(error: OSError) -> Outcome:
    return Outcome(result="failed", reason=f"cannot write the journal: {error}")


def changes_in_effect(run_folder: Path, host: Reader) -> tuple[Entry, ...]:
    """The changes of a run that are not undone, newest first. Raises OSError.

    A step that failed or was interrupted counts if the state of its target is not the earlier one.
    """

    def is_in_effect(entry: Entry) -> bool:
        if entry.progress in ("done", "undone", "left"):
            return entry.progress == "done"
        if entry.step.action.manual_undo:
            return entry.progress == "intended"  # its progress cannot be read
        try:
            return not entry.inverse.is_applied(host)
        except UnreadableStateError:
            return True

    return tuple(entry for entry in reversed(entries(run_folder)) if is_in_effect(entry))


def undo(run_folder: Path, host: Host, known: Collection[Action] = ()) -> tuple[StepOutcome, ...]:
    """Undo a run, last step first. The steps of the outcomes are the inverse ones. Raises OSError.

    Args:
        known: what the fixes of the checks do as administrator; nothing else is undone with administrator rights.
    """
    journal = Journal(run_folder / ACTIONS)
    for entry in entries(run_folder):
        with suppress(OSError):  # the folder then is not empty, and its removal fails with that reason
            entry.step.action.remove_leftovers(host)
    undoable = changes_in_effect(run_folder, host)
    elevated = [e for e in undoable if e.step.action.needs_elevation and not host.identity.elevated]
    own = [entry for entry in undoable if entry not in elevated]
    outcomes = (*restore(own, host, journal), *undo_elevated(elevated, host, journal, known))
    if undoable:
        with suppress(OSError):  # without this record the run counts as interrupted, which does no harm
            journal.ended()
    return outcomes


def restore(undoable: Sequence[Entry], host: Host, journal: Journal) -> tuple[StepOutcome, ...]:
    """Restore the earlier states, in the given order. Refuse to overwrite a change that was made since the run."""
    return tuple(_restore(entry, host, journal) for entry in undoable)


def _restore(entry: Entry, host: Host, journal: Journal) -> StepOutcome:
    try:
        outcome = _restored(entry, host)
        if entry.step.action.manual_undo:
            journal.left(entry.undo_step)
        elif outcome.succeeded:
            journal.undone(entry.undo_step)
    except UnreadableStateError as error:
        outcome = Outcome(result="failed", reason=f"cannot read the present state: {error}")
    except OSError as error:
        outcome = _no_journal(error)
    return StepOutcome.of(entry.undo_step, outcome)


def _restored(entry: Entry, host: Host) -> Outcome:
    """Restore the earlier state, if that is possible and safe. Raises UnreadableStateError."""
    if by_hand := entry.step.action.manual_undo:
        return Outcome(result="refused", reason=f"can only be undone by hand: {by_hand}")
    left = entry.after or entry.step.action
    now = entry.inverse.read(host)
    if entry.inverse.is_met_by(now):
        return Outcome(result="already so")
    if not left.is_met_by(now) and not left.is_halfway(now, entry.inverse.state):
        states = f"the run left {left.show(left.state)}, now it is {left.show(now)}"
        return Outcome(result="refused", reason=f"changed since the run by something else: {states}")
    return _change(entry.undo_step, host)[0]
