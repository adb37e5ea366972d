"""Steps with administrator rights: one prompt for Windows' own cmd.exe and reg.exe, with the values that the plan shows.

This process, which has no such rights, reads and journals the values before, and reads them back afterwards. Only what it reads
back counts, not what the elevated program reports.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from doctor.actions import Action, SetRegistryValue, UnreadableStateError
from doctor.actions.outcome import Outcome
from doctor.fixes.journal import Entry, Journal, StepOutcome
from doctor.fixes.plan import Step
from doctor.host import ElevationRefused, Host
from doctor.host.elevated_command import RegistryChange, why_not_elevated

TIMEOUT_SECONDS = 300.0


def apply_elevated(steps: Sequence[Step], host: Host, journal: Journal) -> tuple[StepOutcome, ...]:
    """Apply steps with one prompt, and return the outcome of each. Does not raise."""
    outcomes = {step.id: _before(step, host, journal) for step in steps}
    return _change(steps, outcomes, host, journal)


def undo_elevated(
    entries: Sequence[Entry], host: Host, journal: Journal, known: Collection[Action]
) -> tuple[StepOutcome, ...]:
    """Restore earlier states with one prompt. Does not raise.

    Args:
        known: what the fixes of the checks do as administrator. A program without rights can forge a journal: only these
            targets are restored, to the absence or to the type of value that a fix writes.
    """
    steps = [entry.undo_step for entry in entries]
    outcomes = {entry.step.id: _before_undo(entry, host, known) for entry in entries}
    return _change(steps, outcomes, host, journal, undo=True)


def _before(step: Step, host: Host, journal: Journal) -> Outcome | None:
    """The outcome of a step that needs no prompt or is refused; None: it is journalled, and the prompt is needed."""
    try:
        before = step.action.read(host)
        if step.action.is_met_by(before):
            return Outcome(result="already so")
        if refusal := _refusal(step.action):
            return refusal
        journal.intend(step, step.action.inverse(before))
    except UnreadableStateError as error:
        return Outcome(result="failed", reason=f"cannot read the present state: {error}")
    except OSError as error:
        return Outcome(result="failed", reason=f"cannot write the journal: {error}")
    return None


def _before_undo(entry: Entry, host: Host, known: Collection[Action]) -> Outcome | None:
    left = entry.after or entry.step.action
    try:
        now = entry.inverse.read(host)
    except UnreadableStateError as error:
        return Outcome(result="failed", reason=f"cannot read the present state: {error}")
    if entry.inverse.is_met_by(now):
        return Outcome(result="already so")
    if not left.is_met_by(now):
        states = f"the run left {left.show(left.state)}, now it is {left.show(now)}"
        return Outcome(result="refused", reason=f"changed since the run by something else: {states}")
    same = [action for action in known if action.has_same_target(entry.inverse)]
    if not same:
        return Outcome(result="refused", reason="no fix changes this setting with administrator rights")
    return _refusal(entry.inverse)


def _refusal(action: Action) -> Outcome | None:
    """Why an action is not done with administrator rights, and how to do it by hand; None: it is done."""
    if isinstance(action, SetRegistryValue):
        why = why_not_elevated(_change_of(action))
        if why is None:
            return None
    else:
        why = "only registry values are changed with administrator rights"
    return Outcome(
        result="refused", reason=f"{why}. By hand, in a terminal opened as administrator: {action.describe()}"
    )


def _change(
    steps: Sequence[Step],
    outcomes: dict[str, Outcome | None],
    host: Host,
    journal: Journal,
    *,
    undo: bool = False,
) -> tuple[StepOutcome, ...]:
    pending = [step for step in steps if outcomes[step.id] is None]
    trouble = _ask(pending, host) if pending else None
    for step in pending:
        outcomes[step.id] = _after(step, host, journal, trouble, undo=undo)
    return tuple(StepOutcome.of(step, outcome) for step in steps if (outcome := outcomes[step.id]))


def _ask(steps: Sequence[Step], host: Host) -> Outcome:
    """Show the prompt, and wait for the program. Return the outcome of a step that is not done afterwards."""
    changes = [_change_of(step.action) for step in steps if isinstance(step.action, SetRegistryValue)]
    try:
        ended = host.set_registry_values_elevated(changes, TIMEOUT_SECONDS)
    except TimeoutError as error:
        later = "If you confirm the prompt later, the change is made nevertheless; aios undo reverts it"
        return Outcome(result="failed", reason=f"{error}. {later}")
    except (OSError, ValueError) as error:
        return Outcome(result="failed", reason=f"cannot run an elevated process: {error}")
    if isinstance(ended, ElevationRefused):
        return Outcome(result="refused", reason=ended.reason)
    return Outcome(
        result="failed",
        reason=f"the change did not take effect: reg.exe (exit status {ended}) had no administrator rights, or a policy forbids it",
    )


def _after(step: Step, host: Host, journal: Journal, trouble: Outcome | None, *, undo: bool) -> Outcome:
    """Read the state back and journal it."""
    outcome = trouble or Outcome(result="failed")
    try:
        now = step.action.read(host)
        if step.action.is_met_by(now):
            outcome = Outcome(result="applied")
            if undo:
                journal.undone(step)
            else:
                journal.done(step, step.action.inverse(now))
        elif not undo and outcome.result == "refused":
            journal.undone(step)  # nothing was changed
        elif not undo:
            journal.failed(step, outcome.reason)
    except UnreadableStateError as error:
        outcome = Outcome(result="failed", reason=f"cannot read the state back: {error}")
    except OSError as error:
        outcome = Outcome(result="failed", reason=f"cannot write the journal: {error}")
    return outcome


def _change_of(action: SetRegistryValue) -> RegistryChange:
    return action.key, action.name, action.state
