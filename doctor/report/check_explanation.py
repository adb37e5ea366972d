"""The explanation of a check, and its finding on this machine, on a console."""

from __future__ import annotations

from collections.abc import Sequence

from doctor.check import GROUPS, Check
from doctor.models import Finding, Fix, Restart
from doctor.report.console import COLOURS, Printer
from doctor.report.wording import advice, systems
from doctor.runs.commands_for_python import finding_for_python, for_python

LABEL = 17  # cells
AFTERWARDS: dict[Restart, str] = {
    "none": "",
    "shell": "takes effect in a new terminal",
    "session": "takes effect when you sign in again",
    "system": "takes effect after a restart",
}


def print_explanation(printer: Printer, check: Check, predicted: Sequence[str], plugin: str | None) -> None:
    """Print what is true on every machine.

    Args:
        printer: the console.
        check: the check.
        predicted: the known failures that it predicts.
        plugin: the distribution that it comes from; None: aios itself.
    """
    applies_to = systems(check)
    printer.line((check.id, "bold"), f"  {GROUPS[check.group]}{applies_to and f', on {applies_to} only'}")
    _print_row(printer, "checks", check.looks_at)
    _print_row(printer, "why it matters", check.why)
    _print_row(printer, "fix it yourself", check.by_hand)
    if check.because_of:
        causes = [cause.id for cause in check.because_of]
        _print_row(printer, "depends on", ", ".join(causes))
    for number, failure in enumerate(predicted):
        _print_row(printer, "" if number else "predicts", failure)
    if plugin:
        _print_row(printer, "plugin", plugin)


def print_judgement(printer: Printer, finding: Finding, python: str | None = None) -> None:
    """Print what the check finds here, and what its fix would do. `python`: the other Python that was diagnosed."""
    finding = finding_for_python(finding, python) if python else finding
    sign = printer.glyphs.status[finding.status]
    _print_row(printer, "on this machine", f"{sign} {finding.summary}", COLOURS[finding.status])
    todo = advice(finding, python)
    printer.todo(" " * LABEL, todo.sentence, todo.commands)
    for command in finding.fix.by_hand if finding.fix else ():
        _print_row(printer, "by hand", command)
    if finding.fix and finding.is_automatic:
        command = for_python(f"aios doctor fix {finding.check}", python)
        printer.line((f"{'the fix':<{LABEL}}", "dim"), command, commands=[command])
        for action in finding.fix.actions:
            _print_row(printer, "", action.describe())
        _print_row(printer, "", _promise(finding.fix))


def _promise(fix: Fix) -> str:
    said = (
        "asks for administrator rights" if fix.elevated else "needs no administrator rights",
        "undone by `aios undo`" if fix.reversible else "cannot be undone by aios",
        AFTERWARDS[fix.restart],
        "may not suit every machine" if fix.applicability == "unsafe" else "",
    )
    return f"({'; '.join(filter(None, said))})"


def _print_row(printer: Printer, label: str, text: str, style: str = "") -> None:
    printer.paragraph(((f"{label:<{LABEL}}", "dim"),), (text, style))
