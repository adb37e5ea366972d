"""The record of an installation in its run folder: what it may change, and its progress. Survives a kill."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from doctor.bounded import read_bytes
from doctor.chained_lines import append_chained, read_chained
from doctor.files import write_atomically
from doctor.host import Frozen, Host
from doctor.runs.run_folders import run_folders

RECORD, JOURNAL = "install.json", "install.jsonl"

Event = Literal["keeping", "installing", "installed", "putting back", "put back", "left"]


ENDED = ("installed", "put back", "left")


class Change(Frozen):
    """The version of a distribution before and after. None: not installed.

    Attributes:
        files: those of the new wheel and of the replaced version.
    """

    name: str
    before: str | None
    after: str | None
    files: tuple[str, ...] = ()


class Record(Frozen):
    """What an installation may write, and where the backup is.

    Attributes:
        roots: the folders below which files change: the environment, and the locations of replaced distributions.
        kept: paths that existed, each with the name of its copy in `store`.
        contents: paths of files in the wheels, each with its size and CRC-32.
        written: paths of files in the wheels and in the replaced distributions.
        folders: those of their folders that existed.
        aside: folders that pip had renamed and not deleted before.
    """

    schema_version: Literal[1] = 1
    prefix: str
    site_packages: str
    roots: tuple[str, ...]
    store: str
    changes: tuple[Change, ...]
    kept: tuple[tuple[str, str], ...]
    contents: tuple[tuple[str, int, int], ...] = ()
    written: tuple[str, ...]
    folders: tuple[str, ...]
    aside: tuple[str, ...]


class InstallRun(Frozen):
    """An installation in a run folder: its record and its last event."""

    folder: Path
    record: Record
    event: Event
    reason: str = ""
    damage: str | None = None  # what is wrong with its journal

    @property
    def is_installed(self) -> bool:
        """Did the installation complete, without being undone since?"""
        return self.event == "installed"

    @property
    def is_consistent(self) -> bool:
        """Is there nothing left to restore: installed, restored, or left as it is?"""
        return self.event in ENDED and (self.damage is None or self.event == "left")


def write_record(folder: Path, record: Record) -> None:
    """Write the record before anything is changed. Raises OSError."""
    append_event(folder, "keeping")  # first: a record without a journal has lost it
    write_atomically(folder / RECORD, json.dumps(record.model_dump(mode="json")).encode())


def update_record(folder: Path, record: Record) -> None:
    """Replace the record of a run that is under way. Raises OSError."""
    write_atomically(folder / RECORD, json.dumps(record.model_dump(mode="json")).encode())


def append_event(folder: Path, event: Event, reason: str = "") -> None:
    """Append an event to the run's journal and flush it to the disk. Raises OSError."""
    append_chained(folder / JOURNAL, {"event": event, "reason": reason})


def read_install_run(folder: Path) -> InstallRun | None:
    """Read the installation in a run folder; None: there is none, or its record is damaged. Raises OSError."""
    journal = read_chained(folder / JOURNAL)
    if not journal.records:
        return None
    try:
        record = Record.model_validate_json(read_bytes(folder / RECORD))
        return InstallRun(
            folder=folder,
            record=record,
            event=journal.records[-1]["event"],
            reason=str(journal.records[-1].get("reason", "")),
            damage=journal.damage,
        )
    except (FileNotFoundError, ValidationError, KeyError):
        return None


def installations(host: Host) -> tuple[InstallRun, ...]:
    """Return the installations into this Python's environment, newest first. Raises OSError."""
    found = (read_install_run(folder) for folder in run_folders(host))
    return tuple(each for each in found if each and each.record.prefix == host.identity.prefix)


def unreadable_installations(host: Host) -> tuple[tuple[Path, str], ...]:
    """Installations of any environment whose record or journal cannot be read, newest first, each with the reason.

    Those that were reported before, and those that have ended according to their journal, are left out. Raises OSError.
    """
    found = []
    for folder in run_folders(host):
        if read_install_run(folder):
            continue
        journal = read_chained(folder / JOURNAL)
        event = journal.records[-1].get("event") if journal.records else None
        if event in ENDED or (event in (None, "keeping") and not (folder / RECORD).exists()):
            continue  # nothing was changed, or it was reported before
        broken = RECORD if journal.records else JOURNAL
        state = "is damaged" if (folder / broken).exists() else "is missing"
        found.append((folder, f"its {broken} {state}"))
    return tuple(found)
