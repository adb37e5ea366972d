"""What the commands about runs, checks and wheels print with `--json`. The JSON Schemas are generated from these models."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from doctor.host import Frozen
from doctor.models import Finding, Summary

RunKind = Literal[
    "diagnosed",
    "fixed",
    "undone",
    "failed",
    "running",
    "interrupted",
    "installed",
    "rolled back",
    "left as is",
]


class ListedRun(Frozen):
    """A run of the doctor, or an installation."""

    run: str = Field(description="the name that `aios undo` and `aios doctor diff` accept")
    kind: RunKind
    environment: str | None = Field(
        description="the environment that it changed; null: that of aios, or none"
    )
    summary: Summary | None = Field(description="the findings by status; null: an installation, or no report")
    changes: tuple[str, ...]
    undoable: bool
    restart_due: bool = False
    damage: str | None = Field(default=None, description="what is wrong with its journal")


class RunList(Frozen):
    """`aios history --json` prints exactly this: the runs, newest first."""

    schema_version: Literal[1] = 1
    runs: tuple[ListedRun, ...]


class FactChange(Frozen):
    """A fact about the machine that differs."""

    name: str
    before: str
    after: str


class FindingChange(Frozen):
    """A check's findings; null where it did not run."""

    check: str
    before: Finding | None
    after: Finding | None


class RunChanges(Frozen):
    """What a run changed in between."""

    run: str
    changes: tuple[str, ...]


class DifferenceAnswer(Frozen):
    """`aios doctor diff --json` prints exactly this."""

    schema_version: Literal[1] = 1
    before: str
    after: str
    facts: tuple[FactChange, ...]
    findings: tuple[FindingChange, ...]
    changed_by: tuple[RunChanges, ...]


class UndoneStep(Frozen):
    """A change that was undone, or the reason why not."""

    action: str
    result: str
    reason: str


class UndoAnswer(Frozen):
    """`aios undo --json` prints exactly this for a fix; for an installation, what `aios install --json` prints."""

    schema_version: Literal[1] = 1
    run: str | None = Field(description="null: there is nothing to undo")
    steps: tuple[UndoneStep, ...] = ()
    damage: str | None = Field(default=None, description="what is wrong with the journal of the run")
    remaining: tuple[str, ...] = Field(default=(), description="planned changes that may still be in effect")
    restart_needed: bool = False


class Explanation(Frozen):
    """`aios doctor explain --json` prints exactly this."""

    schema_version: Literal[1] = 1
    check: str
    group: str
    systems: tuple[str, ...]
    looks_at: str
    why: str
    by_hand: str
    depends_on: tuple[str, ...]
    predicts: tuple[str, ...] = Field(description="the ids of known failures")
    plugin: str | None = Field(description="the distribution that it comes from; null: aios")
    finding: Finding = Field(description="what it finds on this machine")
