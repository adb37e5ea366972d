"""The report on a console: first the open findings, then the healthy checks by group."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from doctor.check import GROUPS, Group
from doctor.models import Finding, Report
from doctor.report.console import COLOURS, Part, Printer
from doctor.report.wording import (
    OPEN,
    TRAINING,
    WORST_FIRST,
    advice,
    counts,
    evidence_line,
    machine_lines,
    next_step,
    waiting_for,
)

MANY = 12  # with more checks than this, healthy ones are counted, and skipped ones only shown with -v
ALWAYS_IN_FULL: Group = "backends"  # the question that most users have
HEADING_WIDTH = max(map(len, GROUPS.values())) + 2
INDENT = "    "


def print_report(
    report: Report,
    groups: Mapping[str, Group],
    printer: Printer,
    verbose: bool = False,
    training: tuple[str, ...] = (TRAINING,),
) -> None:
    """Print the report.

    Args:
        groups: the group of each check.
        verbose: whether to print a line for each finding, with its evidence.
        training: the commands that start training here, for the last line.
    """
    for line in machine_lines(report):
        printer.paragraph((), line)
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
    all_shown = verbose or (few and report.summary.ok <= MANY)
    printer.sentence(f"{counts(report)}{'' if all_shown else ' (all checks: -v)'}")
    if report.capability_file:
        printer.sentence(f"What each attention backend can do here: {report.capability_file}")
    next_one = next_step(report, training)
    printer.paragraph((), (str(next_one), "bold"), *next_one.commands)


def _worst_first(findings: Sequence[Finding]) -> list[Finding]:
    """Sort by status; findings of equal status stay in the order of the checks, causes first."""
    return sorted(findings, key=lambda finding: WORST_FIRST.index(finding.status))


def _print_each(printer: Printer, findings: Sequence[Finding], report: Report, verbose: bool = False) -> None:
    """Print each finding, and below it what to do, the checks that depend on it, and the evidence."""
    width = _width(findings)
    for finding in findings:
        colour = COLOURS[finding.status]
        printer.paragraph(
            (*_sign(printer, finding), f"{finding.check:<{width}}  "), (finding.summary, colour)
        )
        todo = advice(finding, report.machine.environment)
        printer.todo(INDENT, todo.sentence, todo.commands)
        if waiting := waiting_for(report, finding.check):
            skipped = "check was skipped" if len(waiting) == 1 else "checks were skipped"
            line = f"{len(waiting)} {skipped} because of it: {', '.join(waiting)}"
            printer.paragraph((INDENT,), (line, "dim"))
        if verbose:
            _print_details(printer, finding)


def _print_healthy(printer: Printer, heading: str, findings: Sequence[Finding], in_full: bool) -> None:
    """Print the healthy checks of a group, their number or a line each, and its notes (`info`)."""
    healthy = [finding for finding in findings if finding.status == "ok"]
    listed = [*(healthy if in_full else ()), *(f for f in findings if f.status == "info")]
    width = _width(listed)
    title: Part = (f"{heading:<{HEADING_WIDTH}}", "bold")
    if healthy and not in_full:
        printer.paragraph((title, *_sign(printer, healthy[0])), _counted(healthy))
        title = " " * HEADING_WIDTH
    for finding in listed:
        printer.paragraph((title, *_sign(printer, finding), f"{finding.check:<{width}}  "), finding.summary)
        title = " " * HEADING_WIDTH


def _counted(healthy: Sequence[Finding]) -> str:
    return healthy[0].check if len(healthy) == 1 else f"{len(healthy)} checks"


def _sign(printer: Printer, finding: Finding) -> tuple[Part, ...]:
    return (printer.glyphs.status[finding.status], COLOURS[finding.status]), " "


def _width(findings: Sequence[Finding]) -> int:
    return max((len(finding.check) for finding in findings), default=0)


def _print_details(printer: Printer, finding: Finding) -> None:
    details = [
        f"{name}: {value}" for name in ("measured", "expected", "impact") if (value := getattr(finding, name))
    ]
    for detail in (*details, *map(evidence_line, finding.evidence), *finding.links):
        printer.paragraph((INDENT, "  "), (detail, "dim"))
    if finding.fix:
        for command in finding.fix.commands if finding.is_automatic else finding.fix.by_hand:
            printer.line((f"{INDENT}  by hand: {command}", "dim"))
