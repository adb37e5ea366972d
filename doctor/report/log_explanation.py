"""The failures that a log shows, for a person at a console: the root cause first, what follows from it below it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from doctor.failures.explanation import Explained
from doctor.models import Finding
from doctor.report.console import COLOURS, Part, Printer
from doctor.report.wording import advice

STEP = 4  # cells that a consequence stands behind its cause


def print_explained(
    printer: Printer, explained: Sequence[Explained], findings: Mapping[str, Finding]
) -> None:
    """`findings` of this machine, by check: each is told once."""
    untold = dict(findings)
    for number, this in enumerate(explained, start=1):
        if number > 1:
            printer.line()
        match = this.match
        indent = " " * (STEP * this.depth)
        title = match.title if this.certain else f"Perhaps: {match.title}"
        title += " (harmless by itself)" if this.harmless else ""
        printer.paragraph((f"{indent}{number}. ",), (title, "bold"))
        indent += "   "
        printer.cut_line((indent, (f"line {match.line}: ", "dim")), match.text)
        for sentence in (match.cause, match.fix):
            arrow = f"{printer.glyphs.arrow} " if sentence is match.fix else ""
            printer.paragraph((indent, arrow), sentence)
        if finding := untold.pop(match.check or "", None):
            _print_here(printer, indent, finding)
        if this.link:
            printer.line(indent, (this.link, "dim"))


def _print_here(printer: Printer, indent: str, finding: Finding) -> None:
    sign: Part = (printer.glyphs.status[finding.status], COLOURS[finding.status])
    printer.paragraph(
        (indent, sign, " "), f"on this machine, {finding.check}: {finding.summary}", finding.check
    )
    for command in advice(finding).commands:
        printer.line(indent, "  ", command)
