"""The elevated child's side: work out what is to be done, compare its hash with the parent's, do it, answer.

The parent names fixes, not actions: those come from the child's own diagnosis, or for an undo from the run's journal.
Nothing is done that differs from what the parent showed. Whoever may not change the machine may write a journal, though:
an undo touches only what the checks' own fixes touch. And nothing is done without administrator rights: under Wine,
"runas" starts the child without any.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from pathlib import Path

from doctor.check import Check
from doctor.diagnosis import diagnose
from doctor.fixes.executor import apply_steps, put_back, standing
from doctor.fixes.journal import Journal, Outcome
from doctor.fixes.plan import Step, hash_of, make_plan
from doctor.host import Host


def apply_elevated(
    host: Host, checks: Sequence[Check], fixes: Collection[str], plan_hash: str, answer: Path
) -> None:
    """Apply the steps of `fixes` that need an administrator. Raises FileExistsError where `answer` exists."""
    plan = make_plan(diagnose(host, checks).findings, named=[check.id for check in checks])
    steps = [step for step in plan.steps if step.fix in fixes and step.action.needs_elevation]
    _answer(host, steps, plan_hash, answer, lambda journal: apply_steps(steps, host, journal))


def undo_elevated(
    host: Host, checks: Sequence[Check], run_folder: Path, plan_hash: str, answer: Path
) -> None:
    """Put back what the run changed as an administrator. Raises FileExistsError where `answer` exists."""
    touched = [action for check in checks for action in check.elevated]
    undoable = [
        entry
        for entry in standing(run_folder, host)
        if any(entry.step.action.has_same_target(known) for known in touched)
    ]
    steps = [entry.back for entry in undoable]
    _answer(host, steps, plan_hash, answer, lambda journal: put_back(undoable, host, journal))


def _answer(
    host: Host,
    steps: Sequence[Step],
    plan_hash: str,
    answer: Path,
    act: Callable[[Journal], Sequence[Outcome]],
) -> None:
    journal = Journal.create(answer)  # an elevated process must not overwrite a file
    if not host.identity.elevated:
        journal.answer("the child process was started without administrator rights", [])
    elif hash_of(steps) != plan_hash:
        journal.answer("the elevated process found another plan than the one that was shown", [])
    else:
        journal.answer(None, act(journal))
