"""An installation in the history of runs."""

from __future__ import annotations

from doctor.install.install_record import InstallRun
from doctor.runs.answers import ListedRun, RunKind


def listed_installation(run: InstallRun, *, undoable: bool) -> ListedRun:
    """Describe an installation for the history of runs. `undoable`: it is the newest one that is in effect."""
    restored: RunKind = "rolled back" if run.reason else "undone"
    kinds: dict[str, RunKind] = {"installed": "installed", "put back": restored, "left": "left as is"}
    return ListedRun(
        run=run.folder.name,
        kind=kinds.get(run.event, "interrupted"),
        environment=run.record.prefix,
        summary=None,
        changes=tuple(version_changes(run)),
        undoable=undoable and run.is_installed,
        damage=run.damage or run.reason or None,
    )


def version_changes(run: InstallRun) -> list[str]:
    """A line for each package that the installation changed."""
    return [_version_change(each.name, each.before, each.after) for each in run.record.changes]


def _version_change(name: str, before: str | None, after: str | None) -> str:
    if before is None:
        return f"install {name} {after}"
    if after is None:
        return f"uninstall {name} {before}"
    return f"replace {name} {before} by {after}"
