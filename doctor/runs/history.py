"""What each run found, planned and changed: read from its folder, and saved there."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal, TypeVar

from pydantic import ValidationError

from doctor.actions import Action, InstallPackages, UnreadableStateError
from doctor.bounded import read_bytes
from doctor.files import write_atomically
from doctor.fixes.executor import changes_in_effect
from doctor.fixes.journal import ENDED, PLAN, RESTARTED, Entry, damage_of, entries, events
from doctor.fixes.plan import Plan, Step
from doctor.host import Frozen, Reader
from doctor.models import Report, to_json
from doctor.runs.run_folders import delete_old_runs, has_changes, new_run_folder, run_folders

REPORT = "report.json"

M = TypeVar("M", bound=Frozen)


class RecordedPlan(Plan):
    """`plan.json`: what a run planned to change.

    Attributes:
        boot_time: when the computer was started, in seconds since 1970; None if unknown.
        python: the interpreter of the environment that was changed; None: the one that runs aios.
        prefix: the folder of that environment.
    """

    schema_version: Literal[1] = 1
    boot_time: float | None = None
    python: str | None = None
    prefix: str | None = None

    @property
    def checks(self) -> frozenset[str]:
        """The checks whose findings the plan fixes."""
        return frozenset(check for planned in self.fixes for check in planned.checks)

    @property
    def changes_the_environment(self) -> bool:
        """Whether a step changes packages or files of that environment, and not only the machine."""
        return any(self._is_inside(step.action) for step in self.steps)

    def _is_inside(self, action: Action) -> bool:
        if isinstance(action, InstallPackages):
            return True
        return self.prefix is not None and getattr(action, "path", "").startswith(self.prefix)


@dataclass(frozen=True)
class Run:
    """What a run planned and changed. It may have finished, been killed, or still be running.

    Attributes:
        entries: the changes that it started, in order.
        ended: it tried every step of its plan.
        restarted: the computer was restarted after it, and its changes were checked again.
    """

    folder: Path
    plan: RecordedPlan
    entries: tuple[Entry, ...]
    ended: bool
    restarted: bool


def read_run(folder: Path) -> Run:
    """Read a run from its folder. A missing or damaged plan is read as an empty one. Raises OSError."""
    recorded = events(folder)
    return Run(
        folder,
        plan=read_plan(folder),
        entries=entries(folder),
        ended=ENDED in recorded,
        restarted=RESTARTED in recorded,
    )


def read_plan(folder: Path) -> RecordedPlan:
    """The run's plan; an empty one if it is missing or damaged."""
    return _read(folder / PLAN, RecordedPlan) or RecordedPlan()


def read_report(folder: Path) -> Report | None:
    """The run's report; None if it is missing, damaged, or written by a newer version."""
    return _read(folder / REPORT, Report)


def _read(path: Path, model: type[M]) -> M | None:
    try:
        return model.model_validate_json(read_bytes(path))
    except (OSError, ValidationError):
        return None


def runs_with_changes(host: Reader) -> tuple[Run, ...]:
    """The runs that started to change something, newest first; unreadable ones are left out. Raises OSError."""
    runs = []
    for folder in filter(has_changes, run_folders(host)):
        with suppress(OSError):
            runs.append(read_run(folder))
    return tuple(runs)


def newest_undoable_run(host: Reader, host_of: Callable[[Path], Reader | None] | None = None) -> Path | None:
    """The folder of the newest run with changes that are not undone, or that may have such. Raises OSError.

    `host_of`: the host of the environment that a run changed; None: leave that run out.
    """
    for folder in filter(has_changes, run_folders(host)):
        there = host_of(folder) if host_of else host
        if there and (changes_in_effect(folder, there) or unaccounted(folder, there)):
            return folder
    return None


def unaccounted(folder: Path, host: Reader) -> tuple[Step, ...]:
    """The planned steps whose target has the planned state, although the journal is damaged and does not have them.

    Raises OSError.
    """
    if damage_of(folder) is None:
        return ()
    recorded = {entry.step.id for entry in entries(folder) if entry.progress != "intended"}
    plan = read_plan(folder)
    return tuple(step for step in plan.steps if step.id not in recorded and _is_met(step, host))


def _is_met(step: Step, host: Reader) -> bool:
    try:
        return step.action.is_applied(host)
    except UnreadableStateError:
        return True


def save_run(report: Report, host: Reader, now: datetime) -> Path:
    """Save `report` in a new run folder, and delete old runs without changes. Raises OSError."""
    folder = new_run_folder(host, now)
    save_report(report, folder)
    delete_old_runs(host)
    return folder


def save_report(report: Report, folder: Path) -> None:
    """Write the report to the run's folder. Raises OSError."""
    write_atomically(folder / REPORT, to_json(report).encode())


def save_plan(plan: RecordedPlan, folder: Path) -> None:
    """Write the plan to the run's folder. Raises OSError."""
    content = json.dumps(plan.model_dump(mode="json"), indent=2) + "\n"
    write_atomically(folder / PLAN, content.encode())
