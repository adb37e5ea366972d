"""The runs of the doctor, from the folders that they left: what each one found, planned and changed."""

from __future__ import annotations

import json
import shutil
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal, TypeVar

from pydantic import ValidationError

from doctor.aios_home import RUN_NAME, new_run_folder, runs_folder
from doctor.files import write_atomically
from doctor.fixes.executor import changes_in_effect
from doctor.fixes.journal import ENDED, RESTARTED, Entry, entries, events
from doctor.fixes.plan import Plan
from doctor.host import Frozen, Reader
from doctor.models import Report
from doctor.runs.make_report import to_json

KEPT = 50  # runs that changed nothing; those that did are kept for ever

M = TypeVar("M", bound=Frozen)


class RecordedPlan(Plan):
    """`plan.json`: what a run set out to change. `boot_time`: seconds since 1970, None where nobody could tell."""

    schema_version: Literal[1] = 1
    boot_time: float | None = None

    @property
    def checks(self) -> frozenset[str]:
        """Whose findings it is to put right."""
        return frozenset(check for planned in self.fixes for check in planned.checks)


@dataclass(frozen=True)
class Run:
    """What a run changed. It is over, it was killed, or it is still at work."""

    folder: Path
    plan: RecordedPlan
    entries: tuple[Entry, ...]  # what it began to change, in that order
    ended: bool  # did it try all that it had planned?
    restarted: bool  # was what it changed looked at again after the restart that it needed?


def read_run(folder: Path) -> Run:
    """What the folder tells; a plan that is missing or damaged is empty. Raises OSError."""
    told = events(folder)
    return Run(
        folder,
        plan=_read(folder / "plan.json", RecordedPlan) or RecordedPlan(),
        entries=entries(folder),
        ended=ENDED in told,
        restarted=RESTARTED in told,
    )


def read_report(folder: Path) -> Report | None:
    """The run's report; None where it is missing or damaged, or of a later version."""
    return _read(folder / "report.json", Report)


def _read(path: Path, model: type[M]) -> M | None:
    try:
        return model.model_validate_json(path.read_bytes())
    except (OSError, ValidationError):
        return None


def run_folders(host: Reader) -> tuple[Path, ...]:
    """The folders of all runs, newest first. Raises OSError."""
    runs = runs_folder(host)
    there = runs.iterdir() if runs.is_dir() else ()
    return tuple(
        sorted((run for run in there if RUN_NAME.fullmatch(run.name) and run.is_dir()), reverse=True)
    )


def newest_standing_run(host: Reader) -> Path | None:
    """The newest run that changed something that is not undone. Raises OSError."""
    return next((folder for folder in run_folders(host) if changes_in_effect(folder, host)), None)


def changed_something(folder: Path) -> bool:
    """Did the run begin to change anything?"""
    return any(folder.glob("*.jsonl"))


def runs_with_changes(host: Reader) -> tuple[Run, ...]:
    """The runs that began to change something, newest first, without those that cannot be read. Raises OSError."""
    runs = []
    for folder in filter(changed_something, run_folders(host)):
        with suppress(OSError):
            runs.append(read_run(folder))
    return tuple(runs)


def keep(report: Report, host: Reader, now: datetime) -> Path:
    """Make a folder for the run that gave `report`, and forget the oldest that changed nothing. Raises OSError."""
    folder = new_run_folder(host, now)
    keep_report(report, folder)
    unchanged = [run for run in run_folders(host) if not changed_something(run)]
    for old in unchanged[KEPT:]:
        with suppress(OSError):  # another doctor may be at it, too
            shutil.rmtree(old)
    return folder


def keep_report(report: Report, folder: Path) -> None:
    """Put the report into the run's folder. Raises OSError."""
    write_atomically(folder / "report.json", to_json(report).encode())


def keep_plan(plan: RecordedPlan, folder: Path) -> None:
    """Put the plan into the run's folder. Raises OSError."""
    content = json.dumps(plan.model_dump(mode="json"), indent=2) + "\n"
    write_atomically(folder / "plan.json", content.encode())
