"""`aios doctor fix` and `undo`: plan, show, ask, change, verify; and put back."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from doctor.aios_home import changing_alone, runs_folder
from doctor.commands.common import Output, examined, selected, this_machine, with_trouble
from doctor.commands.history import named_run
from doctor.fixes.executor import undo as undo_run
from doctor.fixes.plan import Plan, make_plan
from doctor.lock import HeldError
from doctor.report.changes import print_outcomes, print_plan
from doctor.report.console import Printer
from doctor.runs.doctor_run import Examination, Subject, reminded
from doctor.runs.fix_run import carry_out
from doctor.runs.history import keep_report, newest_standing_run, read_run
from doctor.runs.make_report import FINDINGS, FIX_FAILED, RESTART, after_fix, exit_status
from doctor.runs.reminders import is_in_force_since_a_restart

OCCUPIED = "another aios doctor ({}) is changing this machine; wait for its end, then run this again"


def fix(
    checks: Annotated[
        list[str] | None, typer.Argument(metavar="CHECK...", help="All if none is named.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what it would do, and stop.")] = False,
    unsafe: Annotated[bool, typer.Option("--unsafe", help="Also what may not be right everywhere.")] = False,
) -> None:
    """Show what would be changed, ask, change it, and check again."""
    subject = Subject(this_machine(), selected(checks, None))
    examination = examined(subject)
    named = [check.id for check in subject.checks] if checks else []
    status = fix_findings(
        subject, examination, Output(), named=named, unsafe=unsafe, yes=yes, dry_run=dry_run
    )
    raise typer.Exit(with_trouble(status, examination))


def undo(
    run: Annotated[
        str | None,
        typer.Argument(metavar="RUN", help="Its folder's name. Default: the newest with changes."),
    ] = None,
) -> None:
    """Put back what a fix changed."""
    host, printer = this_machine(), Printer(sys.stdout)
    runs = runs_folder(host)
    try:
        folder = newest_standing_run(host) if run is None else named_run(host, run)
        if folder is None:
            printer.line("There is nothing to undo.")
            return
        printer.line(f"Undoing {folder.name}:")
        in_force = is_in_force_since_a_restart(read_run(folder), host.boot_time())
        with changing_alone(host):
            outcomes = undo_run(folder, host)
    except HeldError as error:
        printer.line(f"Nothing was undone: {OCCUPIED.format(error)}")
        raise typer.Exit(FIX_FAILED) from error
    except OSError as error:
        printer.line(f"Cannot read in {runs} what was changed: {error}")
        raise typer.Exit(FIX_FAILED) from error
    print_outcomes(printer, outcomes)
    if not outcomes:
        printer.line("There is nothing left to undo in it.")
    if not all(outcome.succeeded for outcome in outcomes):
        raise typer.Exit(FIX_FAILED)
    if in_force and outcomes:
        printer.line("Next: restart this computer to finish")
        raise typer.Exit(RESTART)


def fix_findings(
    subject: Subject,
    examination: Examination,
    output: Output,
    *,
    yes: bool,
    dry_run: bool,
    named: Sequence[str] = (),
    unsafe: bool = False,
    strict: bool = False,
) -> int:
    """Plan, show, ask, apply, verify, report. Gives the exit status."""
    report, printer = examination.report, output.printer
    for reminder in report.reminders:
        printer.line(reminder)
    plan = make_plan(report.findings, named=named, unsafe=unsafe)
    print_plan(printer, plan, elevated=subject.host.identity.elevated)
    wanted = plan.fixes and not dry_run
    if wanted and (yes or _confirmed(printer)):
        return _apply(plan, subject, examination, output, strict)
    if output.format != "console":
        output.show(report)
    return FINDINGS if wanted else exit_status(report, strict=strict)


def _apply(plan: Plan, subject: Subject, examination: Examination, output: Output, strict: bool) -> int:
    host, report, printer = subject.host, examination.report, output.printer
    try:
        run = carry_out(plan, report.findings, subject, examination.folder)
    except (HeldError, OSError) as error:
        cannot_record = f"no run can be recorded in {runs_folder(host)} ({error})"
        reason = OCCUPIED.format(error) if isinstance(error, HeldError) else cannot_record
        printer.line(f"Nothing was changed: {reason}")
        if output.format != "console":
            output.show(report)
        return FIX_FAILED
    print_outcomes(printer, run.outcomes)
    after = reminded(after_fix(report, run.findings, run.pending_restart), host)
    try:
        keep_report(after, run.folder)
    except OSError as error:
        printer.line(f"The report could not be kept in {run.folder} ({error})")
    output.show(after)
    return exit_status(after, strict=strict, fix_failed=run.failed)


def _confirmed(printer: Printer) -> bool:
    if not (sys.stdin and sys.stdin.isatty()):
        printer.line("Nothing was changed: there is no terminal to ask on. --yes answers for scripts.")
        return False
    sys.stderr.write("Apply? [y/N] ")
    sys.stderr.flush()
    agreed = sys.stdin.readline().strip().lower() in ("y", "yes")
    if not agreed:
        printer.line("Nothing was changed.")
    return agreed
