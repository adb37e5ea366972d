"""An installation in the history of runs, on a console."""

from __future__ import annotations

from doctor.install.install_record import InstallRun
from doctor.report.console import Printer


def print_installation(printer: Printer, run: InstallRun) -> None:
    """An installation in the history of runs: a line for each package."""
    restored = "rolled back" if run.reason else "undone"
    kind = {"installed": "installed", "put back": restored, "left": "left as is"}.get(
        run.event, "interrupted"
    )
    printer.paragraph(((run.folder.name, "bold"), f"  {kind:<11}  "), f"in {run.record.prefix}")
    for change in version_changes(run):
        printer.paragraph((f"    {printer.glyphs.arrow} ",), change)
    if run.reason:
        printer.paragraph(("    ",), run.reason)


def version_changes(run: InstallRun) -> list[str]:
    """A line for each package that the installation changed."""
    return [_version_change(each.name, each.before, each.after) for each in run.record.changes]


def _version_change(name: str, before: str | None, after: str | None) -> str:
    if before is None:
        return f"install {name} {after}"
    if after is None:
        return f"uninstall {name} {before}"
    return f"replace {name} {before} by {after}"
