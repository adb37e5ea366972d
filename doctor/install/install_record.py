"""The record of an installation in its run folder: what it was about to change, and how far it came. Survives a kill."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from doctor.files import append_line, write_atomically
from doctor.fixes.journal import records
from doctor.host import Frozen, Host
from doctor.runs.run_folders import run_folders

RECORD, JOURNAL = "install.json", "install.jsonl"

Event = Literal["keeping", "installing", "installed", "putting back", "put back"]


class Change(Frozen):
    """A distribution before and after. None: it is not there."""

    name: str
    before: str | None
    after: str | None


class Record(Frozen):
    """What an installation may write, and where a copy of what was there is kept.

    Attributes:
        roots: the folders below which anything changes: the environment, and where else a replaced distribution lay.
        kept: paths that were there, each with the name of its copy in `store`.
        written: paths that the wheels have; `aside`: what pip had left lying before.
    """

    schema_version: Literal[1] = 1
    prefix: str
    site_packages: str
    roots: tuple[str, ...]
    store: str
    changes: tuple[Change, ...]
    kept: tuple[tuple[str, str], ...]
    written: tuple[str, ...]
    folders: tuple[str, ...]
    aside: tuple[str, ...]


class Installed(Frozen):
    """A run that installed something: its record, and the last thing that it did."""

    folder: Path
    record: Record
    event: Event
    reason: str = ""

    @property
    def stands(self) -> bool:
        """Did it come to its end, and was not undone?"""
        return self.event == "installed"

    @property
    def is_whole(self) -> bool:
        """Is the environment as this run, or the one before it, wanted it?"""
        return self.event in ("installed", "put back")


def keep_record(folder: Path, record: Record) -> None:
    """Write what is about to be changed. Raises OSError."""
    write_atomically(folder / RECORD, json.dumps(record.model_dump(mode="json")).encode())
    tell(folder, "keeping")


def tell(folder: Path, event: Event, reason: str = "") -> None:
    """Append to the run's journal, on the disk before anything else happens. Raises OSError."""
    append_line(folder / JOURNAL, json.dumps({"event": event, "reason": reason}).encode())


def read_installed(folder: Path) -> Installed | None:
    """What the run installed; None: it is no such run, or its record is damaged. Raises OSError."""
    told = list(records(folder / JOURNAL))
    if not told:
        return None
    try:
        record = Record.model_validate_json((folder / RECORD).read_bytes())
        return Installed(
            folder=folder, record=record, event=told[-1]["event"], reason=str(told[-1].get("reason", ""))
        )
    except (FileNotFoundError, ValidationError, KeyError):
        return None


def installations(host: Host) -> tuple[Installed, ...]:
    """Those of this Python's environment, the newest first. Raises OSError."""
    found = (read_installed(folder) for folder in run_folders(host))
    return tuple(each for each in found if each and each.record.prefix == host.identity.prefix)
