"""Interrupted installations: unchanged packages are restored, packages changed since are left alone and named."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from doctor.host import Host
from doctor.install.backup import discard_used_backup, restore
from doctor.install.comparison import changed_since, lost_backup
from doctor.install.install_record import (
    Change,
    InstallRun,
    append_event,
    installations,
    unreadable_installations,
)


@dataclass(frozen=True)
class Repair:
    """What was done about an interrupted installation. `message`: a paragraph for the user."""

    folder: Path
    message: str


def repair_interrupted(host: Host) -> tuple[Repair, ...]:
    """Restore the environment after interrupted installations. Raises OSError; may be retried."""
    runs = installations(host)
    for run in runs:
        discard_used_backup(run)
    unreadable = tuple(_leave(folder, why) for folder, why in unreadable_installations(host))
    return unreadable + tuple(_repair(run) for run in runs if not run.is_consistent)


def forget_interrupted(host: Host) -> tuple[InstallRun, ...]:
    """Leave the environment as it is after interrupted installations, and return those. Raises OSError."""
    runs = tuple(run for run in installations(host) if not run.is_consistent)
    for run in runs:
        append_event(run.folder, "left", "forgotten with --forget")
    return runs


def _leave(folder: Path, why: str) -> Repair:
    """Report once that an installation cannot be read, and leave the environment as it is."""
    append_event(folder, "left", why)
    return Repair(
        folder,
        f"What the installation {folder.name} changed is not known: {why}. Nothing was restored. aios doctor shows whether "
        "packages are incomplete.",
    )


def _repair(run: InstallRun) -> Repair:
    return Repair(run.folder, _repaired(run))


def _repaired(run: InstallRun) -> str:
    if run.damage:
        append_event(run.folder, "left", f"its journal {run.damage}")
        return (
            f"The journal of the installation {run.folder.name} {run.damage}, so its progress is not known. Nothing was "
            "restored. aios doctor shows whether packages are incomplete."
        )
    interrupted = f"An earlier installation was interrupted ({run.folder.name})"
    if run.event == "keeping":
        restore(run)
        return f"{interrupted} before it changed anything."
    names = _names(run.record.changes)
    if lost := lost_backup(run.record):
        append_event(run.folder, "left", lost)
        return f"{interrupted}, and {lost}. Nothing was restored. aios doctor shows whether {names} are incomplete."
    changed = {change: why for change in run.record.changes if (why := changed_since(run, change))}
    if not changed:
        restore(run)
        return f"{interrupted}: the previous versions are restored."
    reasons = "; ".join(f"{change.name} {why}" for change, why in changed.items())
    kept = f"{interrupted}, and was followed by another change: {reasons}. Left as it is: {_names(changed)}."
    others = [change for change in run.record.changes if change not in changed]
    restore(run.model_copy(update={"reason": f"not restored: {reasons}"}), but=changed)
    return f"{kept} Restored: {_names(others)}." if others else kept


def _names(changes: Iterable[Change]) -> str:
    return ", ".join(change.name for change in changes)
