"""`aios doctor`: parse what is asked, call the operations, print, and end with the contract's exit status."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Annotated, Literal

import typer

from doctor import capability
from doctor.assembly import assemble, has_proofs
from doctor.check import Check
from doctor.checks import CHECKS, UnknownCheckError, select
from doctor.diagnosis import Diagnosis, diagnose
from doctor.elevated import apply_elevated, undo_elevated
from doctor.executor import undo as undo_run
from doctor.fixing import FixRun, carry_out, keep_report, newest_standing_run, run_names
from doctor.host import Host
from doctor.host.live import live_host
from doctor.host.machine import MachineFileError, load_machine
from doctor.host.recorded import RecordedHost
from doctor.host.recorder import Recorder
from doctor.journal import Outcome
from doctor.models import Finding, Report
from doctor.plan import Plan, make_plan
from doctor.report.build import FINDINGS, FIX_FAILED, exit_status, make_report, to_json
from doctor.report.console import Printer, print_report
from doctor.report.markdown import to_markdown
from doctor.state import runs_folder, write_atomically

Format = Literal["console", "json", "markdown"]

app = typer.Typer(invoke_without_command=True, add_completion=False, pretty_exceptions_enable=False)


@dataclass(frozen=True)
class Examination:
    """One call of the doctor: what it looks at, and how it talks."""

    host: Host
    checks: tuple[Check, ...]
    recorded: bool = False
    timeout: float | None = None
    capability_file: Path | None = None
    format: Format = "console"
    ascii: bool = False
    verbose: bool = False
    strict: bool = False

    @property
    def printer(self) -> Printer:
        """For all that is not the report: beside it at a console, else out of its way."""
        return Printer(sys.stdout if self.format == "console" else sys.stderr, self.ascii)


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
    examination = Examination(
        host=_recorded(machine) if machine else live_host(),
        checks=_select(only, skip),
        recorded=machine is not None,
        timeout=timeout,
        capability_file=capability_file,
        format="json" if json else "markdown" if markdown else "console",
        ascii=ascii,
        verbose=verbose,
        strict=strict,
    )
    if fix:
        _fix(examination, named=False, unsafe=False, yes=yes, dry_run=dry_run)
    started_at, diagnosis = _diagnose(examination)
    written, saved = _write_capability(examination, diagnosis)
    report = _report(examination, started_at, diagnosis.findings, written)
    _print(examination, report)
    raise typer.Exit(exit_status(report, strict=strict) if saved else FINDINGS)


@app.command()
def fix(
    checks: Annotated[
        list[str] | None, typer.Argument(metavar="[CHECK]...", help="All if none is named.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what it would do, and stop.")] = False,
    unsafe: Annotated[bool, typer.Option("--unsafe", help="Also what may not be right everywhere.")] = False,
) -> None:
    """Show what would be changed, ask, change it, and check again."""
    examination = Examination(host=live_host(), checks=_select(checks, None))
    _fix(examination, named=bool(checks), unsafe=unsafe, yes=yes, dry_run=dry_run)


@app.command()
def undo(
    run: Annotated[
        str | None,
        typer.Argument(metavar="[RUN]", help="Its folder's name. Default: the newest with changes."),
    ] = None,
) -> None:
    """Put back what a fix changed."""
    host, printer = live_host(), Printer(sys.stdout)
    if run is None:
        folder = newest_standing_run(host)
        if folder is None:
            printer.line("There is nothing to undo.")
            return
    elif run not in run_names(host):
        known = ", ".join(run_names(host)[:5]) or "none"
        raise typer.BadParameter(f"there is no run '{run}' in {runs_folder(host)}; the newest are: {known}")
    else:
        folder = runs_folder(host) / run
    printer.line(f"Undoing {folder.name}:")
    outcomes = undo_run(folder, host)
    _print_outcomes(printer, outcomes)
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
    undo_elevated(live_host(), run_folder, plan_hash, answer)


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
        return select(only or (), skip or ())
    except UnknownCheckError as error:
        raise typer.BadParameter(str(error)) from error


def _diagnose(examination: Examination) -> tuple[float, Diagnosis]:
    """The time when it began, in seconds, and what was found."""
    started_at = time.time()
    with _progress() as on_progress:
        return started_at, diagnose(examination.host, examination.checks, examination.timeout, on_progress)


@contextmanager
def _progress() -> Iterator[Callable[[int, int], None] | None]:
    """On stderr, and only where that is a terminal."""
    if not sys.stderr.isatty():
        yield None
        return
    with Printer(sys.stderr).console.status("Looking", spinner="line") as status:
        yield lambda done, total: status.update(f"Looking: {done} of {total}")


def _report(
    examination: Examination,
    started_at: float,
    findings: Sequence[Finding],
    capability_file: Path | None = None,
    pending_restart: bool = False,
) -> Report:
    return make_report(
        examination.host.identity,
        findings,
        started_at=datetime.fromtimestamp(started_at, timezone.utc),
        duration_seconds=time.time() - started_at,
        recorded=examination.recorded,
        capability_file=str(capability_file) if capability_file else None,
        pending_restart=pending_restart,
    )


def _print(examination: Examination, report: Report) -> None:
    if examination.format == "json":
        sys.stdout.write(to_json(report))
    elif examination.format == "markdown":
        sys.stdout.write(to_markdown(report))
    else:
        groups = {check.id: check.group for check in CHECKS}
        print_report(report, groups, Printer(sys.stdout, examination.ascii), examination.verbose)


def _write_capability(examination: Examination, diagnosis: Diagnosis) -> tuple[Path | None, bool]:
    """Where the capability was written, None if it was not due; and whether all went well."""
    host = examination.host
    if examination.recorded or not has_proofs(diagnosis.facts):
        return None, True
    proven = assemble(diagnosis.facts, capability.fingerprint(host), datetime.now(timezone.utc))
    path = capability.default_path(examination.capability_file, host)
    try:
        capability.write(path, proven)
    except OSError as error:
        Printer(sys.stderr).line(f"Cannot write the capability file {path}: {error.strerror or error}")
        return None, False
    return path, True


def _fix(examination: Examination, *, named: bool, unsafe: bool, yes: bool, dry_run: bool) -> None:
    """Diagnose, plan, ask, apply, verify, report; ends the command."""
    started_at, diagnosis = _diagnose(examination)
    written, _ = _write_capability(examination, diagnosis)
    findings, host, printer = diagnosis.findings, examination.host, examination.printer
    plan = make_plan(
        findings, only=[check.id for check in examination.checks] if named else None, unsafe=unsafe
    )
    _print_plan(printer, plan, elevated=host.identity.elevated)
    report = _report(examination, started_at, findings, written)
    status = exit_status(report, strict=examination.strict)
    run: FixRun | None = None
    if plan.fixes and not dry_run:
        if yes or _confirmed(printer):
            try:
                run = carry_out(plan, findings, examination.checks, host, datetime.now(timezone.utc))
            except OSError as error:
                printer.line(f"Nothing was changed: no run can be recorded in {runs_folder(host)} ({error})")
                raise typer.Exit(FIX_FAILED) from error
            _print_outcomes(printer, run.outcomes)
            report = _report(examination, started_at, run.findings, written, run.pending_restart)
            keep_report(run, report)
            status = exit_status(report, strict=examination.strict, fix_failed=run.failed)
        else:
            status = FINDINGS
    if run or examination.format != "console":
        _print(examination, report)
    raise typer.Exit(status)


def _print_plan(printer: Printer, plan: Plan, elevated: bool) -> None:
    for planned in plan.fixes:
        asks = any(step.needs_elevation for step in planned.fix.actions) and not elevated
        printer.line(
            (planned.fix.id, "bold"),
            f" for {', '.join(planned.checks)}",
            " (asks for administrator rights)" if asks else "",
        )
        for action in planned.fix.actions:
            printer.line(f"  {printer.glyphs.arrow} {action.describe()}")
        for command in planned.fix.commands:
            printer.line((f"  by hand: {command}", "dim"))
    for left in plan.left:
        printer.line((left.check, "bold"), f" stays open, {left.reason}")
        for command in left.commands:
            printer.line((f"  by hand: {command}", "dim"))
    if not plan.fixes:
        printer.line("There is nothing that the doctor would fix.")


def _confirmed(printer: Printer) -> bool:
    if not (sys.stdin and sys.stdin.isatty()):
        printer.line("Nothing was changed: there is no terminal to ask on. --yes answers for scripts.")
        return False
    printer.console.print("Apply? [y/N] ", end="")
    agreed = sys.stdin.readline().strip().lower() in ("y", "yes")
    if not agreed:
        printer.line("Nothing was changed.")
    return agreed


def _print_outcomes(printer: Printer, outcomes: Sequence[Outcome]) -> None:
    signs = printer.glyphs.status
    for outcome in outcomes:
        sign, colour = (signs["ok"], "green") if outcome.stands else (signs["error"], "bold red")
        note = (
            outcome.reason if not outcome.stands else "already so" if outcome.result == "already so" else ""
        )
        printer.line((sign, colour), f" {outcome.step.action.describe()}", f": {note}" if note else "")
