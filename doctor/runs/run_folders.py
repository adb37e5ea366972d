"""Where runs are recorded: a folder for each run, with names that sort by time."""

from __future__ import annotations

import re
import secrets
import shutil
from contextlib import suppress
from datetime import datetime, timezone
from pathlib import Path

from doctor.aios_home import state_folder
from doctor.host import Reader

RUN_NAME = re.compile(r"\d{4}-\d\d-\d\dT\d\d-\d\d-\d\dZ__[0-9a-f]{8}")
MAX_UNCHANGED_RUNS = 50  # runs that changed something are never deleted


def runs_folder(host: Reader) -> Path:
    """The parent of all run folders."""
    return state_folder(host) / "runs"


def new_run_folder(host: Reader, now: datetime) -> Path:
    """Create `runs/<UTC time>__<id>`. The id keeps runs of the same second apart, and in order.

    Raises:
        OSError: the folder cannot be created.
    """
    time = now.astimezone(timezone.utc).strftime("%Y-%m-%dT%H-%M-%SZ")
    folder = runs_folder(host) / f"{time}__{now.microsecond >> 4:04x}{secrets.token_hex(2)}"
    folder.mkdir(parents=True)
    return folder


def run_folders(host: Reader) -> tuple[Path, ...]:
    """The folders of all runs, newest first. Raises OSError."""
    runs = runs_folder(host)
    if not runs.is_dir():
        return ()
    found = (entry for entry in runs.iterdir() if RUN_NAME.fullmatch(entry.name) and entry.is_dir())
    return tuple(sorted(found, reverse=True))


def has_changes(folder: Path) -> bool:
    """Whether the run started to change anything."""
    return any(folder.glob("*.jsonl")) or (folder / "plan.json").exists()  # a plan whose journal was lost


def delete_old_runs(host: Reader) -> None:
    """Delete the oldest runs without changes, down to MAX_UNCHANGED_RUNS. Raises OSError."""
    unchanged = [folder for folder in run_folders(host) if not has_changes(folder)]
    for folder in unchanged[MAX_UNCHANGED_RUNS:]:
        with suppress(OSError):  # another process may be deleting it
            shutil.rmtree(folder)
