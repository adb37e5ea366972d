"""The history of runs, and the differences between two of them, on a console."""

from __future__ import annotations

from collections.abc import Sequence

from doctor.models import Finding
from doctor.report.console import COLOURS, Printer
from doctor.report.wording import counted
from doctor.runs.answers import ListedRun, RunKind
from doctor.runs.differences import ChangedFinding, Difference
from doctor.runs.history import Run

INDENT = "    "
INSTALLATIONS = ("installed", "rolled back", "left as is")


def print_run(printer: Printer, run: ListedRun) -> None:
    """Print the run's name, kind and counts, then a line for each change and its current state."""
    found = counted(run.summary) if run.summary else "" if run.kind in INSTALLATIONS else "no report"
    where = f"in {run.environment}" if run.environment else ""
    printer.paragraph(((run.run, "bold"), f"  {run.kind:<11}  "), ", ".join(filter(None, (found, where))))
    for change in run.changes:
        printer.paragraph((f"{INDENT}{printer.glyphs.arrow} ",), change)
    if run.restart_due:
        printer.line(f"{INDENT}a restart of this computer is due")
    if run.damage:
        printer.paragraph(
            (INDENT,), run.damage if run.kind in INSTALLATIONS else f"Its journal {run.damage}."
        )
    if run.undoable:
        command = f"aios undo {run.run}"
        printer.paragraph((INDENT,), f"to undo it: {command}", command)


def changes_of(run: Run) -> list[str]:
    """A line for each change of the run."""
    return [f"{entry.step.action.describe()} ({entry.progress})" for entry in run.entries]


def kind_of(run: Run, undoable: bool, running: bool) -> RunKind:
    """What a run did. `undoable`: some of its changes are in effect; `running`: it has not ended."""
    if not run.entries:
        return "diagnosed"
    if not run.ended:
        return "running" if running else "interrupted"
    if undoable:
        return "fixed"
    return "undone" if any(entry.progress in ("undone", "left") for entry in run.entries) else "failed"


def print_difference(
    printer: Printer, difference: Difference, changes: Sequence[tuple[str, Sequence[str]]]
) -> None:
    """Print the facts and the findings that differ, then what aios changed between the two runs.

    Args:
        printer: the console.
        difference: between the reports of the two runs.
        changes: the name of each run that changed something in between, and a line for each change.
    """
    for fact in difference.facts:
        printer.paragraph(((fact.name, "bold"), ": "), f"{fact.before} {printer.glyphs.arrow} {fact.after}")
    for each in difference.findings:
        if each.before and each.after:
            printer.line((each.check, "bold"))
            _print_finding(printer, "before", each.before)
            _print_finding(printer, "after ", each.after)
    _print_names(printer, "only before", [each for each in difference.findings if not each.after])
    _print_names(printer, "only after", [each for each in difference.findings if not each.before])
    for run, lines in changes:
        printer.line((f"changed by {run}:", "bold"))
        for line in lines:
            printer.paragraph((f"{INDENT}{printer.glyphs.arrow} ",), line)
    if not (difference.facts or difference.findings or changes):
        printer.line("No differences.")


def _print_finding(printer: Printer, when: str, finding: Finding) -> None:
    sign = (printer.glyphs.status[finding.status], COLOURS[finding.status])
    measured = f" ({finding.measured})" if finding.measured else ""
    printer.paragraph((f"{INDENT}{when}  ", sign, " "), f"{finding.summary}{measured}")


def _print_names(printer: Printer, heading: str, findings: Sequence[ChangedFinding]) -> None:
    if findings:
        names = [each.check for each in findings]
        printer.paragraph(((f"{heading}: ", "bold"),), ", ".join(names))
