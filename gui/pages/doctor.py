"""Doctor: findings with their evidence, fixes with their plan, and undo."""

from __future__ import annotations

from collections.abc import Callable

from nicegui import ui

from doctor.check import GROUPS
from doctor.checks import CHECKS
from doctor.models import Finding, Report
from doctor.report.wording import advice, counts, evidence_line, machine_lines
from gui.command_view import print_in
from gui.diagnosis import Options, diagnose, diagnose_command, newest_report, open_findings
from gui.frame import (
    Here,
    button,
    card,
    command_line,
    folded,
    heading,
    output,
    page,
    paragraph,
    row,
    table,
    tag,
)
from gui.operations import Command, ask, command
from gui.pages.doctor_cards import environments, explained_log, report_to_share

COLOURS = {
    "error": "bad",
    "unknown": "warn",
    "warning": "warn",
    "ok": "good",
    "broken": "bad",
    "warnings": "warn",
}
GROUP_OF = {check.id: GROUPS[check.group] for check in CHECKS}


@page("/doctor", "doctor")
def doctor(here: Here) -> None:
    words, options = here.words, Options()
    heading(words("nav.doctor"), 1)
    paragraph(words("doctor.lead"))
    with folded(words("doctor.options")), ui.element("div").classes("fields"):
        ui.checkbox(words("doctor.offline")).on_value_change(lambda e: _set(options, "offline", e.value))
        ui.input(words("doctor.only")).on_value_change(lambda e: _set(options, "only", e.value))
        ui.input(words("doctor.machine")).on_value_change(lambda e: _set(options, "machine", e.value))
        ui.input(words("doctor.python")).on_value_change(lambda e: _set(options, "python", e.value))
    buttons = ui.element("div").classes("row-of")
    shown = ui.element("div")
    progress = paragraph("", "dim").props("role=status")
    area = ui.element("div").classes("plain")

    async def run() -> None:
        start.disable()
        asked = diagnose_command(options.words)
        shown.clear()
        with shown:
            command_line(here, asked)
        progress.text = words("running")
        report = await diagnose(asked, lambda done: progress.set_text(f"{words('running')} {done}"))
        progress.text = ""
        start.enable()
        area.clear()
        with area:
            if report:
                _report(here, report, options, run)
            else:
                answer = await ask(command("doctor", *options.words))
                output(answer.text, words("output"))

    with buttons:
        start = button(words("doctor.run"), run)
        button(words("doctor.undo"), on_click=lambda: _undo(here, options, run), quiet=True)
    if report := newest_report():
        with area:
            _report(here, report, options, run)
    explained_log(here)
    report_to_share(here, options)
    environments(here)


def _set(options: Options, name: str, value: object) -> None:
    setattr(options, name, value or "")


def _report(here: Here, report: Report, options: Options, again: Callable[[], object]) -> None:
    words, still_open = here.words, open_findings(report)
    for line in machine_lines(report):
        paragraph(line)
    paragraph(counts(report), "dim")
    if report.pending_restart:
        paragraph(words("doctor.restart"), "warn").props("role=alert")
    for reminder in report.reminders:
        paragraph(reminder, "warn")
    heading(words("doctor.open", count=len(still_open)) if still_open else words("doctor.healthy"))
    fixable = not report.machine.recorded
    safe = [
        each for each in still_open if each.is_automatic and each.fix and each.fix.applicability == "safe"
    ]
    if len(safe) > 1 and fixable:
        with row():
            button(words("doctor.fix_all"), on_click=lambda: _plan(here, [], options, again), quiet=True)
    for finding in still_open:
        _finding(here, finding, options, again, fixable=fixable)
    _others(here, [finding for finding in report.findings if finding not in still_open])


def _finding(
    here: Here, finding: Finding, options: Options, again: Callable[[], object], *, fixable: bool
) -> None:
    words = here.words
    with card(f"{COLOURS.get(finding.status, 'good')}-edge"):
        heading(finding.summary, 3)
        with row():
            tag("span", words(f"status.{finding.status}"), COLOURS.get(finding.status, ""))
            tag("span", f"{GROUP_OF.get(finding.check, '')} · {finding.check}", "dim")
        if finding.impact:
            paragraph(finding.impact)
        todo = advice(finding, options.python.strip() or None)
        if todo.sentence:
            paragraph(todo.sentence)
        for line in todo.commands:
            output(line, words("command"))
        if fixable and any(line.startswith("aios install") for line in todo.commands):
            ui.link(words("nav.install"), "/install")
        with row():
            if finding.is_automatic and fixable:
                checks = [finding.check]
                fix = button(words("doctor.fix"), lambda: _plan(here, checks, options, again))
                fix.props(f'aria-label="{words("doctor.fix")} {finding.check}"')
        _evidence(here, finding)


def _evidence(here: Here, finding: Finding) -> None:
    words = here.words
    with folded(words("doctor.evidence")):
        if finding.measured:
            paragraph(f"{words('doctor.measured')}: {finding.measured}")
        if finding.expected:
            paragraph(f"{words('doctor.expected')}: {finding.expected}")
        for each in finding.evidence:
            paragraph(evidence_line(each), "dim")
        if finding.fix and finding.fix.commands:
            paragraph(f"{words('doctor.by_hand')}:")
            output("\n".join(finding.fix.by_hand or finding.fix.commands), words("doctor.by_hand"))


def _others(here: Here, findings: list[Finding]) -> None:
    words = here.words
    with folded(words("doctor.rest", count=len(findings))):
        for group in GROUPS.values():
            rows = [
                (
                    each.check,
                    words(f"status.{each.status}"),
                    words("doctor.because", check=each.because_of) if each.because_of else each.summary,
                )
                for each in findings
                if GROUP_OF.get(each.check) == group
            ]
            if rows:
                heading(group, 3)
                table(["", "", ""], rows)


async def _plan(here: Here, checks: list[str], options: Options, again: Callable[[], object]) -> None:
    """Show what `aios doctor fix` would change; apply it only after a click."""
    planned = command("doctor", "fix", *checks, "--dry-run", *options.of_python)
    applied = command("doctor", "fix", *checks, "--yes", *options.of_python)
    await _dialog(here, here.words("doctor.plan"), here.words("doctor.plan_lead"), planned, applied, again)


async def _undo(here: Here, options: Options, again: Callable[[], object]) -> None:
    """Show the newest runs; undo the newest change only after a click."""
    undone = command("doctor", "undo", *options.of_python)
    await _dialog(here, here.words("doctor.undo"), "", command("doctor", "runs"), undone, again)


async def _dialog(
    here: Here, title: str, lead: str, first: Command, then: Command, again: Callable[[], object]
) -> None:
    words = here.words
    # Not in the report, which is replaced after the fix
    with (
        ui.context.client.content,
        ui.dialog() as dialog,
        ui.card().props(f'role=dialog aria-label="{title}"').classes("dialog"),
    ):
        heading(title)
        if lead:
            paragraph(lead)
        area = ui.element("div").classes("plain")
        with row():
            go = button(words("apply"))
            go.disable()
            close = button(words("cancel"), on_click=dialog.close, quiet=True)
    dialog.open()
    await print_in(area, here, first)
    go.enable()

    async def apply() -> None:
        go.disable()
        await print_in(area, here, then)
        go.set_visibility(False)
        close.text = words("close")
        again_result = again()
        if hasattr(again_result, "__await__"):
            await again_result

    go.on_click(apply)
