"""`aios doctor`: parse what is asked, call the operations, print, and end with the contract's exit status."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Annotated, Literal

import typer

from doctor.check import Check
from doctor.checks import CHECKS, UnknownCheckError, select
from doctor.diagnosis import Progress, diagnose
from doctor.elevated import apply_elevated, undo_elevated
from doctor.examination import Examination, Subject, examine
from doctor.executor import undo as undo_run
from doctor.fixing import carry_out, keep_report, newest_standing_run, run_names
from doctor.host import Host
from doctor.host.files import write_atomically
from doctor.host.live import live_host
from doctor.host.machine import MachineFileError, load_machine
from doctor.host.recorded import RecordedHost
from doctor.host.recorder import Recorder
from doctor.models import Report
from doctor.plan import Plan, make_plan
from doctor.report.build import FINDINGS, FIX_FAILED, HEALTHY, UNKNOWN, after_fix, exit_status, to_json
from doctor.report.changes import print_outcomes, print_plan
from doctor.report.console import Printer, print_report
from doctor.report.markdown import to_markdown
from doctor.state import runs_folder

app = typer.Typer(invoke_without_command=True, add_completion=False, pretty_exceptions_enable=False)


@dataclass(frozen=True)
class Output:
    """How this call talks. stdout is for the report; at a console also for what leads to it."""

    format: Literal["console", "json", "markdown"] = "console"
    ascii: bool = False
    verbose: bool = False

    @property
    def printer(self) -> Printer:
        """For all that is not the report."""
        return Printer(sys.stdout if self.format == "console" else sys.stderr, self.ascii)

    def show(self, report: Report) -> None:
        """Print the report."""
        if self.format == "json":
            sys.stdout.write(to_json(report))
        elif self.format == "markdown":
            sys.stdout.write(to_markdown(report))
        else:
            groups = {check.id: check.group for check in CHECKS}
            print_report(report, groups, self.printer, self.verbose)


@app.callback(
    help="Diagnose this machine. Changes nothing, but writes what each attention backend can do here."
)
def doctor(
    context: typer.Context,
    json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print the report as Markdown.")] = False,
    only: Annotated[
        list[str] | None, typer.Option(metavar="CHECK", help="Only this check. Repeatable.")
    ] = None,
    skip: Annotated[
        list[str] | None, typer.Option(metavar="CHECK", help="Not this check. Repeatable.")
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Warnings count as errors.")] = False,
    ascii: Annotated[bool, typer.Option("--ascii", help="Print ASCII only.")] = False,
    timeout: Annotated[
        float | None, typer.Option(min=0.1, metavar="SECONDS", help="For each probe, in place of its own.")
    ] = None,
    capability_file: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Where to write what each backend can do.")
    ] = None,
    machine: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Look at a recorded machine, not at this one.")
    ] = None,
    fix: Annotated[bool, typer.Option("--fix", help="Then fix all that can safely be fixed.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="With --fix: do not ask.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="With --fix: show what it would do.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Show the evidence.")] = False,
) -> None:
    if context.invoked_subcommand:
        _refuse_options(context)
        return
    if json and markdown:
        raise typer.BadParameter("choose one of --json and --markdown")
    if (yes or dry_run) and not fix:
        raise typer.BadParameter("--yes and --dry-run go with --fix")
    if machine and capability_file:
        raise typer.BadParameter("a recorded machine gives no capability file for this one")
    if machine and fix and not dry_run:
        raise typer.BadParameter("a recorded machine can only be fixed with --dry-run")
    host = _recorded(machine) if machine else live_host()
    subject = Subject(host, _select(only, skip), timeout, recorded=machine is not None)
    output = Output("json" if json else "markdown" if markdown else "console", ascii, verbose)
    examination = _examine(subject, capability_file)
    if fix:
        status = _fix(subject, examination.report, output, yes=yes, dry_run=dry_run, strict=strict)
    else:
        output.show(examination.report)
        status = exit_status(examination.report, strict=strict)
    raise typer.Exit(_with_trouble(status, examination))


@app.command()
def fix(
    checks: Annotated[
        list[str] | None, typer.Argument(metavar="CHECK...", help="All if none is named.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what it would do, and stop.")] = False,
    unsafe: Annotated[bool, typer.Option("--unsafe", help="Also what may not be right everywhere.")] = False,
) -> None:
    """Show what would be changed, ask, change it, and check again."""
    subject = Subject(live_host(), _select(checks, None))
    examination = _examine(subject)
    named = [check.id for check in subject.checks] if checks else []
    status = _fix(subject, examination.report, Output(), named=named, unsafe=unsafe, yes=yes, dry_run=dry_run)
    raise typer.Exit(_with_trouble(status, examination))


@app.command()
def undo(
    run: Annotated[
        str | None,
        typer.Argument(metavar="RUN", help="Its folder's name. Default: the newest with changes."),
    ] = None,
) -> None:
    """Put back what a fix changed."""
    host, printer = live_host(), Printer(sys.stdout)
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


@app.command()
def record(file: Annotated[Path, typer.Argument(metavar="FILE", help="Where to write it.")]) -> None:
    """Save what the doctor sees on this machine, without personal data, for `aios doctor --machine FILE`."""
    recorder = Recorder(live_host())
    with _progress() as on_progress:
        diagnose(recorder, CHECKS, on_progress=on_progress)
    try:
        write_atomically(file, recorder.machine().to_json().encode())
    except OSError as error:
        raise typer.BadParameter(f"cannot write {file}: {error.strerror or error}") from error
    Printer(sys.stdout).line(f"Recorded this machine in {file}")


PLAN_HASH = typer.Option("--plan-hash")
ANSWER = typer.Option("--answer")


@app.command("apply-elevated", hidden=True)
def _apply_elevated(
    fixes: list[str],
    check: Annotated[list[str], typer.Option()],
    plan_hash: Annotated[str, PLAN_HASH],
    answer: Annotated[Path, ANSWER],
) -> None:
    """The elevated part of a fix: started by it, not by a person."""
    apply_elevated(live_host(), _select(check, None), fixes, plan_hash, answer)


@app.command("undo-elevated", hidden=True)
def _undo_elevated(
    run_folder: Path, plan_hash: Annotated[str, PLAN_HASH], answer: Annotated[Path, ANSWER]
) -> None:
    """The elevated part of an undo: started by it, not by a person."""
    undo_elevated(live_host(), CHECKS, run_folder, plan_hash, answer)


def _refuse_options(context: typer.Context) -> None:
    """An option before a subcommand would be lost in silence."""
    for name in context.params:
        source = context.get_parameter_source(name)
        if source is not None and source.name == "COMMANDLINE":
            option = "--" + name.replace("_", "-")
            raise typer.BadParameter(f"{option} does not go with '{context.invoked_subcommand}'")


def _recorded(file: Path) -> Host:
    try:
        return RecordedHost(load_machine(file))
    except MachineFileError as error:
        raise typer.BadParameter(str(error)) from error


def _select(only: Sequence[str] | None, skip: Sequence[str] | None) -> tuple[Check, ...]:
    try:
        selected = select(only or (), skip or ())
    except UnknownCheckError as error:
        raise typer.BadParameter(str(error)) from error
    if not selected:
        raise typer.BadParameter("--only and --skip leave no check")
    return selected


@contextmanager
def _progress() -> Iterator[Progress | None]:
    """On stderr, and only where that is a terminal."""
    if not sys.stderr.isatty():
        yield None
        return
    with Printer(sys.stderr).console.status("Looking", spinner="line") as status:
        yield lambda done, total: status.update(f"Looking: {done} of {total}")


def _examine(subject: Subject, capability_file: Path | None = None) -> Examination:
    with _progress() as on_progress:
        examination = examine(subject, capability_file, on_progress)
    if examination.trouble:
        Printer(sys.stderr).line(examination.trouble)
    return examination


def _with_trouble(status: int, examination: Examination) -> int:
    """A capability file that could not be written is a finding, too."""
    return FINDINGS if examination.trouble and status in (HEALTHY, UNKNOWN) else status


def _fix(
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
