"""The elevated child: plans the steps, compares their hash with the parent's, applies them and reports the outcomes.

The parent names fixes, not actions. The actions come from the child's own diagnosis, or for an undo from the journal of
the run, and are applied only if their hash is that of the plan which the user has seen. A program without administrator
rights can forge a journal, so an undo changes only targets that the fixes of the checks change. Without administrator
rights nothing is applied: under Wine, "runas" starts the child without them.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from pathlib import Path

from doctor.check import Check
from doctor.diagnosis import diagnose
from doctor.fixes.executor import apply_steps, changes_in_effect, restore
from doctor.fixes.journal import Journal, StepOutcome
from doctor.fixes.plan import Step, hash_of, make_plan
from doctor.host import Host


def apply_elevated(
    host: Host, checks: Sequence[Check], fixes: Collection[str], plan_hash: str, answer: Path
) -> None:
    """Apply the steps of `fixes` that need administrator rights. Raises FileExistsError if the file `answer` exists."""
    plan = make_plan(diagnose(host, checks).findings, named=[check.id for check in checks])
    steps = [step for step in plan.steps if step.fix in fixes and step.action.needs_elevation]
    _apply_if_agreed(host, steps, plan_hash, answer, lambda journal: apply_steps(steps, host, journal))


def undo_elevated(
    host: Host, checks: Sequence[Check], run_folder: Path, plan_hash: str, answer: Path
) -> None:
    """Undo what the run changed with administrator rights. Raises FileExistsError if the file `answer` exists."""
    targets = [action for check in checks for action in check.elevated]
    undoable = [
        entry
        for entry in changes_in_effect(run_folder, host)
        if any(entry.step.action.has_same_target(known) for known in targets)
    ]
    steps = [entry.undo_step for entry in undoable]
    _apply_if_agreed(host, steps, plan_hash, answer, lambda journal: restore(undoable, host, journal))


def _apply_if_agreed(
    host: Host,
    steps: Sequence[Step],
    plan_hash: str,
    answer: Path,
    act: Callable[[Journal], Sequence[StepOutcome]],
) -> None:
    journal = Journal.create(answer)  # an elevated process must not overwrite a file
    if not host.identity.elevated:
        journal.report("the child process was started without administrator rights", [])
    elif hash_of(steps) != plan_hash:
        journal.report("the plan of the elevated process differs from the one shown", [])
    else:
        journal.report(None, act(journal))
