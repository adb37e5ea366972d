"""The report on a console: first what is to be done, then group by group what is in order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from doctor.check import GROUPS, Group
from doctor.models import Finding, Report
from doctor.report.console import COLOURS, Part, Printer
from doctor.report.wording import (
    OPEN,
    WORST_FIRST,
    advice,
    counts,
    evidence_line,
    machine_line,
    next_step,
    waiting_for,
)

MANY = 12  # checks; where there are more, the names of healthy ones must do, and others' reasons are for -v
ALWAYS_IN_FULL: Group = "backends"  # what runs here is what everybody came to know
HEADING_WIDTH = max(map(len, GROUPS.values())) + 2
INDENT = "    "


def print_report(
    report: Report, groups: Mapping[str, Group], printer: Printer, verbose: bool = False
) -> None:
    """Print the findings. `groups` tells each check's group; `verbose` shows a line for each, with its evidence."""
    printer.line(machine_line(report))
    for reminder in report.reminders:
        printer.paragraph((("!", COLOURS["warning"]), " "), reminder)
    grouped = {
        group: [finding for finding in report.findings if groups.get(finding.check) == group]
        for group in GROUPS
    }
    if verbose:
        for group, findings in grouped.items():
            if findings:
                printer.line()
                printer.line((GROUPS[group], "bold"))
                _print_each(printer, _worst_first(findings), report, verbose)
    else:
        few = len(report.findings) <= MANY
        if todo := [finding for finding in _worst_first(report.findings) if finding.status in OPEN]:
            printer.line()
            _print_each(printer, todo, report)
        printer.line()
        for group, findings in grouped.items():
            in_full = report.summary.ok <= MANY or group == ALWAYS_IN_FULL
            _print_healthy(printer, GROUPS[group], findings, in_full)
            if few:
                skipped = [f for f in findings if f.status == "skipped" and f.because_of is None]
                _print_each(printer, skipped, report)
    printer.line()
    told_why = verbose or few or not report.summary.skipped
    printer.line(counts(report), "" if told_why else " (-v tells why)")
    if report.capability_file:
        printer.line(f"What each attention backend can do here: {report.capability_file}")
    next_one = next_step(report)
    printer.paragraph((), (str(next_one), "bold"), *next_one.commands)


def _worst_first(findings: Sequence[Finding]) -> list[Finding]:
    """The checks stand in the order of causes; that order is kept among the equally bad."""
    return sorted(findings, key=lambda finding: WORST_FIRST.index(finding.status))


def _print_each(printer: Printer, findings: Sequence[Finding], report: Report, verbose: bool = False) -> None:
    """A line for each finding; below it what to do, what waits for it, and what it rests on."""
    width = _width(findings)
    for finding in findings:
        colour = COLOURS[finding.status]
        printer.paragraph(
            (*_sign(printer, finding), f"{finding.check:<{width}}  "), (finding.summary, colour)
        )
        todo = advice(finding)
        printer.todo(INDENT, todo.sentence, todo.commands)
        if waiting := waiting_for(report, finding.check):
            wait = "check waits" if len(waiting) == 1 else "checks wait"
            printer.paragraph((INDENT,), (f"and {len(waiting)} {wait} for it: {', '.join(waiting)}", "dim"))
        if verbose:
            _print_details(printer, finding)


def _print_healthy(printer: Printer, heading: str, findings: Sequence[Finding], in_full: bool) -> None:
    """What is in order: by name, or each on a line; and what is worth knowing."""
    healthy = [finding for finding in findings if finding.status == "ok"]
    told = [*(healthy if in_full else ()), *(f for f in findings if f.status == "info")]
    width = _width(told)
    title: Part = (f"{heading:<{HEADING_WIDTH}}", "bold")
    if healthy and not in_full:
        names = [finding.check for finding in healthy]
        printer.paragraph((title, *_sign(printer, healthy[0])), ", ".join(names))
        title = " " * HEADING_WIDTH
    for finding in told:
        printer.paragraph((title, *_sign(printer, finding), f"{finding.check:<{width}}  "), finding.summary)
        title = " " * HEADING_WIDTH


def _sign(printer: Printer, finding: Finding) -> tuple[Part, ...]:
    return (printer.glyphs.status[finding.status], COLOURS[finding.status]), " "


def _width(findings: Sequence[Finding]) -> int:
    return max((len(finding.check) for finding in findings), default=0)


def _print_details(printer: Printer, finding: Finding) -> None:
    told = [
        f"{name}: {value}" for name in ("measured", "expected", "impact") if (value := getattr(finding, name))
    ]
    for detail in (*told, *map(evidence_line, finding.evidence), *finding.links):
        printer.paragraph((INDENT, "  "), (detail, "dim"))
    if finding.fix:
        for command in finding.fix.commands if finding.is_automatic else finding.fix.by_hand:
            printer.line((f"{INDENT}  by hand: {command}", "dim"))
