"""`aios doctor fix`: show the plan, ask, apply and verify."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer

from doctor.commands.common import (
    Output,
    confirmed,
    run_with_progress,
    selected,
    this_machine,
    with_capability_error,
)
from doctor.commands.options import PythonOption
from doctor.fixes.plan import Plan, make_plan
from doctor.lock import HeldError
from doctor.report.changes import print_outcomes, print_plan
from doctor.runs.doctor_run import DoctorRun, Target, with_reminders
from doctor.runs.fix_run import run_fix
from doctor.runs.history import save_report
from doctor.runs.make_report import ExitStatus, exit_status, report_after_fix
from doctor.runs.run_folders import runs_folder

LOCKED = "another run of aios ({}) is changing this machine. Wait until it ends, then retry."


def fix(
    checks: Annotated[
        list[str] | None, typer.Argument(metavar="CHECK", help="What to fix. Default: all.")
    ] = None,
    only: Annotated[
        list[str] | None, typer.Option(metavar="CHECK", help="The same as CHECK. Repeatable.")
    ] = None,
    skip: Annotated[
        list[str] | None, typer.Option(metavar="CHECK", help="Skip this check. Repeatable.")
    ] = None,
    offline: Annotated[bool, typer.Option("--offline", help="Do not use the network.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show the plan.")] = False,
    strict: Annotated[bool, typer.Option("--strict", help="Treat warnings as errors.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
    unsafe: Annotated[
        bool, typer.Option("--unsafe", help="Also apply fixes that may not suit every machine.")
    ] = False,
    python: PythonOption = None,
) -> None:
    """Show the plan, ask, apply it, and check again."""
    chosen = [*(checks or ()), *(only or ())]
    target = Target(this_machine(python), selected(chosen, skip), offline=offline)
    output = Output("json" if json else "console")
    run = run_with_progress(target, output=output)
    named = [check.id for check in target.checks] if chosen else []
    status = fix_findings(
        target, run, output, named=named, unsafe=unsafe, yes=yes, dry_run=dry_run, strict=strict
    )
    raise typer.Exit(with_capability_error(status, run))


def fix_findings(
    target: Target,
    run: DoctorRun,
    output: Output,
    *,
    yes: bool,
    dry_run: bool,
    named: Sequence[str] = (),
    unsafe: bool = False,
    strict: bool = False,
) -> int:
    """Plan the fixes of a run's findings, show the plan, ask, apply, verify and report. Gives the exit status."""
    report, printer = run.report, output.printer
    for reminder in report.reminders:
        printer.sentence(reminder)
    plan = make_plan(report.findings, named=named, unsafe=unsafe)
    print_plan(printer, plan, elevated=target.host.identity.elevated)
    pending = plan.fixes and not dry_run
    if pending and (yes or confirmed("Apply?", printer)):
        return _apply(plan, target, run, output, strict)
    if pending:
        printer.line("Nothing was changed.")
    if output.format != "console":
        output.show(report)
    return ExitStatus.FINDINGS if pending else exit_status(report, strict=strict)


def _apply(plan: Plan, target: Target, run: DoctorRun, output: Output, strict: bool) -> int:
    host, report, printer = target.host, run.report, output.printer
    try:
        fixed = run_fix(plan, report.findings, target, run.folder)
    except (HeldError, OSError) as error:
        cannot_record = f"cannot record the run in {runs_folder(host)} ({error})"
        reason = LOCKED.format(error) if isinstance(error, HeldError) else cannot_record
        printer.sentence(f"Nothing was changed: {reason}")
        if output.format != "console":
            output.show(report)
        return ExitStatus.FIX_FAILED
    print_outcomes(printer, fixed.outcomes)
    after = with_reminders(report_after_fix(report, fixed.findings, fixed.pending_restart), host)
    try:
        save_report(after, fixed.folder)
    except OSError as error:
        printer.sentence(f"Cannot save the report in {fixed.folder}: {error}")
    output.show(after)
    return exit_status(after, strict=strict, fix_failed=fixed.failed)
