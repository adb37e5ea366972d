"""The plan of a fix, and the outcomes of a fix or an undo, on a console."""

from __future__ import annotations

from collections.abc import Sequence

from doctor.fixes.journal import StepOutcome
from doctor.fixes.plan import Plan, Step
from doctor.models import Status
from doctor.report.console import COLOURS, Printer
from doctor.report.wording import by_hand


def print_plan(printer: Printer, plan: Plan, elevated: bool) -> None:
    """Print each fix with its actions and the equivalent commands, then the findings that stay open.

    `elevated`: this process already has administrator rights.
    """
    for planned in plan.fixes:
        asks = any(step.needs_elevation for step in planned.fix.actions) and not elevated
        printer.paragraph(
            ((planned.fix.id, "bold"), " "),
            f"for {', '.join(planned.checks)}{' (asks for administrator rights)' if asks else ''}",
        )
        for action in planned.fix.actions:
            printer.paragraph((f"  {printer.glyphs.arrow} ",), action.describe())
        for command in planned.fix.commands:
            printer.line((f"  by hand: {command}", "dim"))
    for left in plan.left:
        printer.paragraph(((left.check, "bold"), " "), f"stays open: {left.reason}")
        todo = by_hand(left.hint, left.commands)
        printer.todo("  ", todo.sentence, todo.commands)
    if not plan.fixes:
        printer.line("Nothing to fix automatically.")


def print_damage(printer: Printer, run: str, damage: str, remaining: Sequence[Step]) -> None:
    """Print that the journal of a run is damaged, and which of its planned steps may still be in effect."""
    printer.paragraph(
        (), f"The journal of {run} {damage}. Changes that it does not contain cannot be undone."
    )
    for step in remaining:
        printer.paragraph(("  ",), f"planned, and in effect now: {step.action.describe()}")
    if remaining:
        printer.paragraph(
            (), "Undo these by hand if they are not wanted, or undo an older run: aios undo RUN"
        )


def print_outcomes(printer: Printer, outcomes: Sequence[StepOutcome]) -> None:
    """Print a line for each step."""
    for outcome in outcomes:
        status: Status = "ok" if outcome.succeeded else "error"
        note = outcome.reason or ("already so" if outcome.result == "already so" else "")
        done = outcome.step.action.describe()
        printer.paragraph(
            ((printer.glyphs.status[status], COLOURS[status]), " "), f"{done}: {note}" if note else done
        )
