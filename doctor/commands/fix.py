"""`aios doctor fix` and `undo`: show the plan, ask, apply, verify; and undo a fix."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from doctor.aios_home import changing_alone
from doctor.commands.common import (
    Output,
    confirmed,
    host_of_run,
    known_checks,
    run_with_progress,
    selected,
    this_machine,
    with_capability_error,
)
from doctor.commands.history import named_run
from doctor.commands.options import PythonOption
from doctor.fixes.executor import undo as undo_run
from doctor.fixes.journal import damage_of
from doctor.fixes.plan import Plan, make_plan
from doctor.host import Host
from doctor.lock import HeldError
from doctor.report.changes import print_damage, print_outcomes, print_plan
from doctor.report.console import Printer
from doctor.runs.doctor_run import DoctorRun, Target, with_reminders
from doctor.runs.fix_run import run_fix
from doctor.runs.history import newest_undoable_run, read_plan, read_run, save_report, unaccounted
from doctor.runs.make_report import ExitStatus, exit_status, report_after_fix
from doctor.runs.reminders import took_effect_by_restart
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


def undo(
    run: Annotated[
        str | None,
        typer.Argument(metavar="RUN", help="Its name, or the start of it. Default: the newest."),
    ] = None,
    python: PythonOption = None,
) -> None:
    """Undo what a fix changed."""
    host, printer = this_machine(python), Printer(sys.stdout)
    try:
        folder = (
            newest_undoable_run(host, lambda each: _host_of(each, host))
            if run is None
            else named_run(host, run)
        )
        if folder is None:
            printer.sentence(f"There is nothing to undo{_place(host)}.")
            return
        there = _host_of(folder, host)
        if there is None:
            raise typer.BadParameter(
                f"run {folder.name} changed {_changed_in(folder)}, which no longer exists or is not the Python given by --python"
            )
        host = there
        printer.sentence(f"Undoing {folder.name}{_place(host)}:")
        restart = took_effect_by_restart(read_run(folder), host.boot_time())
        with changing_alone(host):
            known = [action for check in known_checks() for action in check.elevated]
            outcomes = undo_run(folder, host, known)
        damage, remaining = damage_of(folder), unaccounted(folder, host)
    except HeldError as error:
        printer.sentence(f"Nothing was undone: {LOCKED.format(error)}")
        raise typer.Exit(ExitStatus.FIX_FAILED) from error
    except OSError as error:
        printer.sentence(f"Cannot read what was changed from {runs_folder(host)}: {error}")
        raise typer.Exit(ExitStatus.FIX_FAILED) from error
    print_outcomes(printer, outcomes)
    if not outcomes:
        printer.sentence("There is nothing left to undo in this run.")
    if damage is not None:
        print_damage(printer, folder.name, damage, remaining)
    if remaining or not all(outcome.succeeded for outcome in outcomes):
        raise typer.Exit(ExitStatus.FIX_FAILED)
    if restart and outcomes:
        printer.line("Next: restart this computer to finish")
        raise typer.Exit(ExitStatus.RESTART)


def _host_of(folder: Path, host: Host) -> Host | None:
    """The host for undoing a run: that of the environment it changed, unless `host` is another one."""
    changed = read_plan(folder)
    if host.identity.other_python:
        return host if changed.prefix == host.identity.prefix else None
    return host_of_run(changed, host)


def _changed_in(folder: Path) -> str:
    return read_plan(folder).prefix or "the environment of aios"


def _place(host: Host) -> str:
    return f" in {host.identity.prefix}" if host.identity.other_python else ""


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
