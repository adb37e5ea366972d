"""The failures found in a log, on a console: the root cause first, its consequences indented below it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from doctor.failures.explanation import Explained
from doctor.models import Finding
from doctor.report.console import COLOURS, Part, Printer
from doctor.report.wording import advice
from doctor.runs.commands_for_python import for_python

STEP = 4  # cells of indent for each level of consequences


def print_explained(printer: Printer, explained: Sequence[Explained], python: str | None = None) -> None:
    """Print what the log shows. `python`: the Python that the commands are for, if it is not the one that runs aios."""
    for number, each in enumerate(explained, start=1):
        if number > 1:
            printer.line()
        match = each.match
        indent = " " * (STEP * each.depth)
        title = match.title if each.certain else f"Possibly: {match.title}"
        title += " (harmless by itself)" if match.harmless else ""
        printer.paragraph((f"{indent}{number}. ",), (title, "bold"))
        indent += "   "
        printer.cut_line((indent, (f"line {match.line}: ", "dim")), match.text)
        for arrow, sentence in (("", match.cause), (f"{printer.glyphs.arrow} ", match.fix)):
            printer.paragraph((indent, arrow), for_python(sentence, python))
        if each.link:
            printer.line(indent, (each.link, "dim"))


def print_machine(
    printer: Printer,
    explained: Sequence[Explained],
    findings: Mapping[str, Finding],
    python: str | None = None,
) -> None:
    """Print what the checks of these failures find on this machine, below what the log shows.

    `python`: the Python that they looked at, if it is not the one that runs aios.
    """
    where = f"in {python}" if python else "on this machine"
    checks = dict.fromkeys(each.match.check for each in explained)
    for check in checks:
        if finding := findings.get(check or ""):
            sign: Part = (printer.glyphs.status[finding.status], COLOURS[finding.status])
            numbers = [str(number) for number, each in enumerate(explained, 1) if each.match.check == check]
            printer.line()
            printer.paragraph(
                (sign, f" {', '.join(numbers)}: "),
                f"{where}, {finding.check}: {finding.summary}",
                finding.check,
            )
            for command in advice(finding, python).commands:
                printer.line("     ", command)
