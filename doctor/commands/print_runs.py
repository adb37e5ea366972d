"""The history of runs, and what differs between two of them, for a person at a console."""

from __future__ import annotations

from collections.abc import Sequence

from doctor.install.install_record import Installed
from doctor.models import Finding, Report
from doctor.report.console import COLOURS, Printer
from doctor.report.wording import counts
from doctor.runs.differences import Change, Difference
from doctor.runs.history import Run

INDENT = "    "


def print_run(
    printer: Printer, run: Run, report: Report | None, *, undoable: bool, at_work: bool, restart_due: bool
) -> None:
    """Its name and what it was, then a line for each change with its state now."""
    kind = _kind(run, undoable, at_work)
    printer.line((run.folder.name, "bold"), f"  {kind:<11}  ", counts(report) if report else "no report")
    for entry in run.entries:
        printer.line(f"{INDENT}{printer.glyphs.arrow} {entry.step.action.describe()} ({entry.progress})")
    if restart_due:
        printer.line(f"{INDENT}a restart of this computer is due")
    if undoable and not at_work:
        printer.line(f"{INDENT}to undo it: aios doctor undo {run.folder.name}")


def _kind(run: Run, undoable: bool, at_work: bool) -> str:
    if not run.entries:
        return "looked"
    if not run.ended:
        return "at work" if at_work else "interrupted"
    if undoable:
        return "fixed"
    return "undone" if any(entry.progress in ("undone", "left") for entry in run.entries) else "failed"


def print_installation(printer: Printer, run: Installed) -> None:
    """What `aios install` did: a line for each package."""
    kind = {"installed": "installed", "put back": "put back"}.get(run.event, "interrupted")
    printer.line((run.folder.name, "bold"), f"  {kind:<11}  in {run.record.prefix}")
    _print_packages(printer, run)
    if run.reason:
        printer.paragraph((INDENT,), run.reason)


def _print_packages(printer: Printer, run: Installed) -> None:
    for change in run.record.changes:
        before, after = change.before or "none", change.after or "none"
        printer.line(f"{INDENT}{change.name} {before} {printer.glyphs.arrow} {after}")


def print_difference(printer: Printer, difference: Difference, between: Sequence[Run | Installed]) -> None:
    """The machine's facts, then the findings, then what fixes and installations changed between the two."""
    for fact in difference.facts:
        printer.line((fact.name, "bold"), f": {fact.before} {printer.glyphs.arrow} {fact.after}")
    for change in difference.changes:
        if change.before and change.after:
            printer.line((change.check, "bold"))
            _print_finding(printer, "before", change.before)
            _print_finding(printer, "after ", change.after)
    _print_names(printer, "looked at before only", [c for c in difference.changes if not c.after])
    _print_names(printer, "looked at after only", [c for c in difference.changes if not c.before])
    for run in between:
        printer.line((f"changed by {run.folder.name}:", "bold"))
        if isinstance(run, Installed):
            _print_packages(printer, run)
            continue
        for entry in run.entries:
            printer.line(f"{INDENT}{printer.glyphs.arrow} {entry.step.action.describe()} ({entry.progress})")
    if not (difference.facts or difference.changes or between):
        printer.line("Nothing differs.")


def _print_finding(printer: Printer, when: str, finding: Finding) -> None:
    sign = (printer.glyphs.status[finding.status], COLOURS[finding.status])
    measured = f" ({finding.measured})" if finding.measured else ""
    printer.line(f"{INDENT}{when}  ", sign, f" {finding.summary}{measured}")


def _print_names(printer: Printer, heading: str, changes: Sequence[Change]) -> None:
    if changes:
        names = [change.check for change in changes]
        printer.paragraph(((f"{heading}: ", "bold"),), ", ".join(names))
