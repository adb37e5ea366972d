"""`aios doctor fix` and `undo`: plan, show, ask, change, verify; and put back."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from datetime import datetime, timezone
from typing import Annotated

import typer

from doctor.commands.common import Output, examined, selected, this_machine, with_trouble
from doctor.examination import Subject
from doctor.executor import undo as undo_run
from doctor.fixing import carry_out, keep_report, newest_standing_run, run_names
from doctor.models import Report
from doctor.plan import Plan, make_plan
from doctor.report.build import FINDINGS, FIX_FAILED, after_fix, exit_status
from doctor.report.changes import print_outcomes, print_plan
from doctor.report.console import Printer
from doctor.state import runs_folder


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
        subject, examination.report, Output(), named=named, unsafe=unsafe, yes=yes, dry_run=dry_run
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
        if run is not None and run not in run_names(host):
            known = ", ".join(run_names(host)[:5]) or "none"
            raise typer.BadParameter(f"there is no run '{run}' in {runs}; the newest are: {known}")
        folder = newest_standing_run(host) if run is None else runs / run
        if folder is None:
            printer.line("There is nothing to undo.")
            return
        printer.line(f"Undoing {folder.name}:")
        outcomes = undo_run(folder, host)
    except OSError as error:
        printer.line(f"Cannot read in {runs} what was changed: {error}")
        raise typer.Exit(FIX_FAILED) from error
    print_outcomes(printer, outcomes)
    if not outcomes:
        printer.line("There is nothing left to undo in it.")
    if not all(outcome.stands for outcome in outcomes):
        raise typer.Exit(FIX_FAILED)


def fix_findings(
    subject: Subject,
    report: Report,
    output: Output,
    *,
    yes: bool,
    dry_run: bool,
    named: Sequence[str] = (),
    unsafe: bool = False,
    strict: bool = False,
) -> int:
    """Plan, show, ask, apply, verify, report. Gives the exit status."""
    printer = output.printer
    plan = make_plan(report.findings, only=named, unsafe=unsafe)
    print_plan(printer, plan, elevated=subject.host.identity.elevated)
    wanted = plan.fixes and not dry_run
    if wanted and (yes or _confirmed(printer)):
        return _apply(plan, subject, report, output, strict)
    if output.format != "console":
        output.show(report)
    return FINDINGS if wanted else exit_status(report, strict=strict)


def _apply(plan: Plan, subject: Subject, report: Report, output: Output, strict: bool) -> int:
    printer = output.printer
    try:
        run = carry_out(plan, report.findings, subject, datetime.now(timezone.utc))
    except OSError as error:
        printer.line(f"Nothing was changed: no run can be recorded in {runs_folder(subject.host)} ({error})")
        return FIX_FAILED
    print_outcomes(printer, run.outcomes)
    after = after_fix(report, run.findings, run.pending_restart)
    try:
        keep_report(run, after)
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
