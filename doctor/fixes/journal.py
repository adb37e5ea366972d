"""The journal of a run: what it intends to change, has changed and has undone. It survives a kill.

One JSON object per line in `actions.jsonl`, with checksums, flushed to disk before the run continues. Runs of earlier versions have an
`elevated-*.jsonl` in addition, written by an elevated process.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError, model_validator

from doctor.actions import Action
from doctor.actions.outcome import Outcome
from doctor.chained_lines import append_chained, read_chained
from doctor.fixes.plan import Step
from doctor.host import Frozen

ACTIONS = "actions.jsonl"
PLAN = "plan.json"  # written before the journal
ELEVATED = "elevated-*.jsonl"

# Events of a whole run
ENDED, RESTARTED = "ended", "restarted"

Progress = Literal["intended", "failed", "done", "undone", "left"]
RANK = {"intended": 0, "failed": 1, "done": 1, "undone": 2, "left": 2}


class StepOutcome(Outcome):
    """The outcome of a step."""

    step: Step

    @classmethod
    def of(cls, step: Step, outcome: Outcome) -> StepOutcome:
        return cls(step=step, **outcome.model_dump())


class Entry(Frozen):
    """One step of a run, the action that undoes it, and its progress.

    Attributes:
        progress: `intended` means that the run was killed during the step, and only the present state of its target shows
            whether it was done. `left` means that undo could only say how to undo it by hand.
        after: the state after a step that is done. It can be more exact than the desired one, such as a version.
    """

    step: Step
    inverse: Action
    progress: Progress = "intended"
    after: Action | None = None
    restart: bool = False

    @model_validator(mode="after")
    def _is_about_one_target(self) -> Entry:
        if not all(self.step.action.has_same_target(a) for a in (self.inverse, self.after) if a):
            raise ValueError("the inverse of a step has another target")
        return self

    @property
    def undo_step(self) -> Step:
        """The step that undoes this one."""
        return self.step.model_copy(update={"action": self.inverse})


class Journal:
    """Appends to a journal file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def intend(self, step: Step, inverse: Action) -> None:
        """`step` is about to be applied; `inverse` has the state before it."""
        entry = Entry(step=step, inverse=inverse)
        self._append({"event": "intended", **entry.model_dump(mode="json", include={"step", "inverse"})})

    def done(self, step: Step, after: Action, restart: bool = False) -> None:
        """The step was applied and verified. `after` has the state that was read back; `restart`: it takes effect after one."""
        state = after.model_dump(mode="json")
        self._append({"event": "done", "step": step.id, "after": state, "restart": restart})

    def failed(self, step: Step, reason: str) -> None:
        """The step raised an error, or the state that was read back is not the desired one."""
        self._append({"event": "failed", "step": step.id, "reason": reason})

    def undone(self, step: Step) -> None:
        """The earlier state of the step's target was restored."""
        self._append({"event": "undone", "step": step.id})

    def left(self, step: Step) -> None:
        """The user was told how to undo the step by hand."""
        self._append({"event": "left", "step": step.id})

    def ended(self) -> None:
        """The run is complete: every step was tried."""
        self._append({"event": ENDED})

    def restarted(self) -> None:
        """The computer was restarted since the run, and its changes were checked again."""
        self._append({"event": RESTARTED})

    def _append(self, record: dict[str, Any]) -> None:
        append_chained(self.path, record)


def records(path: Path) -> Iterator[dict[str, Any]]:
    """The records of a journal file; none if there is no file. Incomplete and changed lines are skipped. Raises OSError."""
    yield from read_chained(path).records


def damage_of(run_folder: Path) -> str | None:
    """What is wrong with the journal of a run, as a clause about it. None: nothing, or the run changed nothing.

    Raises OSError.
    """
    path = run_folder / ACTIONS
    if not path.exists() and (run_folder / PLAN).exists() and not any(run_folder.glob(ELEVATED)):
        return "is missing"
    return read_chained(path).damage


def events(run_folder: Path) -> frozenset[str]:
    """The kinds of events in the run's own journal. Raises OSError."""
    return frozenset(str(record.get("event")) for record in records(run_folder / ACTIONS))


def entries(run_folder: Path) -> tuple[Entry, ...]:
    """Every step that the run began, in the order of execution, with its progress. Raises OSError."""
    found: dict[str, Entry] = {}
    elevated_first = (*sorted(run_folder.glob(ELEVATED)), run_folder / ACTIONS)
    all_records = [record for path in elevated_first for record in records(path)]
    for record in all_records:
        if record.get("event") == "intended":
            try:
                begun = Entry(step=record["step"], inverse=record["inverse"])
            except (KeyError, ValidationError):
                continue  # damaged, so it cannot be undone
            found[begun.step.id] = begun
    for record in all_records:
        progress, entry = str(record.get("event")), found.get(str(record.get("step")))
        if entry and progress in RANK and RANK[progress] > RANK[entry.progress]:
            more = {name: record[name] for name in ("after", "restart") if name in record}
            try:
                found[entry.step.id] = Entry.model_validate(
                    {**entry.model_dump(), **more, "progress": progress}
                )
            except ValidationError:
                continue  # not written by the doctor
    return tuple(found.values())
