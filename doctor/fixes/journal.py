"""The journal of a run: what was about to be changed, what was changed, what was put back. Survives a kill.

One JSON object a line, each flushed to the disk before the next thing happens. A run has `actions.jsonl`, and one
`elevated-*.jsonl` for each elevated child: a second process never writes to the first one's file.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError, model_validator

from doctor.actions import Action
from doctor.actions.installer_exit_codes import Result
from doctor.files import append_line
from doctor.fixes.plan import Step
from doctor.host import Frozen

ACTIONS = "actions.jsonl"
ELEVATED = "elevated-*.jsonl"

ENDED, RESTARTED, ANSWER = "ended", "restarted", "answer"  # events of a whole run, or of a whole child

Progress = Literal["intended", "failed", "done", "undone", "left"]
RANK = {"intended": 0, "failed": 1, "done": 1, "undone": 2, "left": 2}


class Outcome(Frozen):
    """What became of one step. `refused`: nothing was done, for it would be wrong or somebody said no.

    `reason` says why the step does not stand, or what there is to know. `restart`: it counts after a restart.
    """

    step: Step
    result: Result
    reason: str = ""
    restart: bool = False

    @property
    def stands(self) -> bool:
        """Is the target now as the step wants it?"""
        return self.result in ("applied", "already so")


class Entry(Frozen):
    """One step of a run, the action that puts its target's earlier state back, and how far it came.

    `intended` without more means that the run was killed in the middle: only the target's real state can tell.
    `left` means that an undo could only tell a person how to undo it. `after` has the state that the step left, where
    it is done: what was asked for may be less exact.
    """

    step: Step
    inverse: Action
    progress: Progress = "intended"
    after: Action | None = None
    restart: bool = False

    @model_validator(mode="after")
    def _is_about_one_target(self) -> Entry:
        if not all(self.step.action.has_same_target(a) for a in (self.inverse, self.after) if a):
            raise ValueError("the inverse of a step changes something else")
        return self

    @property
    def back(self) -> Step:
        """The step that undoes this one."""
        return self.step.model_copy(update={"action": self.inverse})


class Answered(Frozen):
    """An outcome as an elevated child tells it: the parent knows the step."""

    step: str
    result: Result
    reason: str = ""
    restart: bool = False

    @classmethod
    def of(cls, outcome: Outcome) -> Answered:
        return cls(step=outcome.step.id, **outcome.model_dump(exclude={"step"}))


class Answer(Frozen):
    """What an elevated child answers: why it refused to begin, or what became of each step."""

    refusal: str | None
    outcomes: tuple[Answered, ...]


class Journal:
    """Appends to a journal file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def create(cls, path: Path) -> Journal:
        """A journal in a new file. Raises FileExistsError."""
        path.open("xb").close()
        return cls(path)

    def intend(self, step: Step, inverse: Action) -> None:
        """About to apply `step`; `inverse` holds the state before."""
        entry = Entry(step=step, inverse=inverse)
        self._append({"event": "intended", **entry.model_dump(mode="json", include={"step", "inverse"})})

    def done(self, step: Step, after: Action, restart: bool = False) -> None:
        """The step was applied, and a read-back agreed: `after` has what it read. `restart`: it counts after one."""
        state = after.model_dump(mode="json")
        self._append({"event": "done", "step": step.id, "after": state, "restart": restart})

    def failed(self, step: Step, reason: str) -> None:
        """The step raised, or its read-back differs."""
        self._append({"event": "failed", "step": step.id, "reason": reason})

    def undone(self, step: Step) -> None:
        """The step's target is again as it was before."""
        self._append({"event": "undone", "step": step.id})

    def left(self, step: Step) -> None:
        """A person was told how to undo the step."""
        self._append({"event": "left", "step": step.id})

    def ended(self) -> None:
        """All that was to be done was tried: nothing of this run waits to be finished."""
        self._append({"event": ENDED})

    def restarted(self) -> None:
        """The computer was restarted since, and what this run changed was looked at again."""
        self._append({"event": RESTARTED})

    def answer(self, refusal: str | None, outcomes: Sequence[Outcome]) -> None:
        """The last line of an elevated child's journal: why it refused to begin, or what became of each step."""
        answer = Answer(refusal=refusal, outcomes=tuple(Answered.of(outcome) for outcome in outcomes))
        self._append({"event": ANSWER, **answer.model_dump(mode="json")})

    def _append(self, record: dict[str, Any]) -> None:
        append_line(self.path, json.dumps(record).encode())


def records(path: Path) -> Iterator[dict[str, Any]]:
    """The records of a journal file. A torn line is passed over; no file, no records. Raises OSError."""
    try:
        lines = path.read_bytes().splitlines()
    except FileNotFoundError:
        return
    for line in lines:
        try:
            record = json.loads(line)
        except ValueError:
            continue
        if isinstance(record, dict):
            yield record


def answer_in(path: Path) -> Answer | None:
    """What the elevated child that made this journal answered; None: nothing that can be understood. Raises OSError."""
    for record in records(path):
        if record.pop("event", None) == ANSWER:
            try:
                return Answer.model_validate_json(json.dumps(record))
            except ValidationError:
                return None
    return None


def events(run_folder: Path) -> frozenset[str]:
    """What the run's own journal tells of, without what it was about. Raises OSError."""
    return frozenset(str(record.get("event")) for record in records(run_folder / ACTIONS))


def entries(run_folder: Path) -> tuple[Entry, ...]:
    """Every step that the run began, in the order of execution, with how far each came. Raises OSError."""
    found: dict[str, Entry] = {}
    elevated_first = (*sorted(run_folder.glob(ELEVATED)), run_folder / ACTIONS)
    told = [record for path in elevated_first for record in records(path)]
    for record in told:
        if record.get("event") == "intended":
            try:
                begun = Entry(step=record["step"], inverse=record["inverse"])
            except (KeyError, ValidationError):
                continue  # nothing that could be put back
            found[begun.step.id] = begun
    for record in told:
        progress, entry = str(record.get("event")), found.get(str(record.get("step")))
        if entry and progress in RANK and RANK[progress] > RANK[entry.progress]:
            more = {name: record[name] for name in ("after", "restart") if name in record}
            try:
                found[entry.step.id] = Entry.model_validate(
                    {**entry.model_dump(), **more, "progress": progress}
                )
            except ValidationError:
                continue  # of another's making
    return tuple(found.values())
