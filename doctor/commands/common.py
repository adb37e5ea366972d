"""What the commands share: the machine, the selection of checks, output formats, progress, and the question."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal, TypeAlias

import typer

from doctor.check import Check
from doctor.checks import CHECKS, UnknownCheckError, select
from doctor.commands.training_command import training_commands
from doctor.diagnosis import ProbeResult, Progress
from doctor.host import Host
from doctor.host.live import live_host
from doctor.host.machine import MachineFileError, load_machine
from doctor.host.recorded import RecordedHost
from doctor.models import Report, to_json
from doctor.plugins import Plugin, load_plugins
from doctor.report.console import Printer
from doctor.report.events import EventWriter
from doctor.report.findings import print_report
from doctor.report.markdown import to_markdown
from doctor.report.wording import TRAINING
from doctor.runs.doctor_run import DoctorRun, Target, report_of_failure, run_doctor
from doctor.runs.history import RecordedPlan
from doctor.runs.make_report import ExitStatus

Format: TypeAlias = Literal["console", "json", "jsonl", "markdown"]


def this_machine(python: Path | None = None) -> Host:
    """The host of every command that is not given a recorded machine. `python`: the path of another Python."""
    if python is None:
        return live_host()
    from doctor.host.other_python import PythonError, find_python

    try:
        found = find_python(python)
    except PythonError as error:
        raise typer.BadParameter(str(error), param_hint="--python") from error
    return live_host() if found.is_this_one else live_host(found)


def host_of_run(plan: RecordedPlan, host: Host) -> Host | None:
    """The host of the environment that a run changed; None: it no longer exists, and more than the machine was changed."""
    if plan.python is None:
        return host
    try:
        return this_machine(Path(plan.python))
    except typer.BadParameter:
        return None if plan.changes_the_environment else host


def known_checks() -> tuple[Check, ...]:
    """The checks of aios and of all plugins."""
    return (*CHECKS, *(check for plugin in plugins() for check in plugin.checks))


def plugins() -> tuple[Plugin, ...]:
    """The plugins of other distributions. What they print while loading goes to stderr."""
    with redirect_stdout(sys.stderr):
        return load_plugins(CHECKS)


@dataclass(frozen=True)
class Output:
    """The output of one call. stdout holds the report; in the console format also the plan and its outcomes."""

    format: Format = "console"
    ascii: bool = False
    verbose: bool = False

    @property
    def printer(self) -> Printer:
        """Prints everything except the report."""
        return Printer(sys.stdout if self.format == "console" else sys.stderr, self.ascii)

    @cached_property
    def events(self) -> EventWriter | None:
        """Writes events during the run; None unless the format is jsonl."""
        return EventWriter(sys.stdout) if self.format == "jsonl" else None

    def show(self, report: Report) -> None:
        """Print the report."""
        if self.events:
            self.events.ended(report)
        elif self.format == "json":
            sys.stdout.write(to_json(report))
        elif self.format == "markdown":
            sys.stdout.write(to_markdown(report))
        else:
            groups = {check.id: check.group for check in known_checks()}
            training = (TRAINING,) if report.machine.recorded else training_commands(Path.cwd())
            print_report(report, groups, self.printer, self.verbose, training)

    @contextmanager
    def closing_events(self, target: Target) -> Iterator[None]:
        """End the events with a report, even if the run fails or is interrupted."""
        reason = "interrupted"
        try:
            yield
        except Exception as error:
            reason = f"the doctor itself failed with {type(error).__name__}: {error}"
            raise
        finally:
            if self.events:
                self.events.close(lambda: report_of_failure(target, reason))


def recorded_host(file: Path) -> Host:
    """The recorded machine in `file`; a damaged file is a usage error."""
    try:
        return RecordedHost(load_machine(file))
    except MachineFileError as error:
        raise typer.BadParameter(str(error)) from error


def selected(only: Sequence[str] | None, skip: Sequence[str] | None) -> tuple[Check, ...]:
    """The checks to run; an unknown id, or a selection without checks, is a usage error."""
    try:
        checks = select(known_checks(), only or (), skip or ())
    except UnknownCheckError as error:
        raise typer.BadParameter(str(error)) from error
    if not checks:
        raise typer.BadParameter("--only and --skip leave no checks to run")
    return checks


@contextmanager
def progress() -> Iterator[Progress]:
    """Show progress on stderr if it is a terminal. Until it ends, stdout goes to stderr, since a plugin may print."""
    with redirect_stdout(sys.stderr):
        if not sys.stderr.isatty():
            yield lambda result: None
            return
        with Printer(sys.stderr).console.status("Checking", spinner="line") as status:
            yield lambda result: status.update(progress_line(result))


def progress_line(result: ProbeResult) -> str:
    """How far the diagnosis is, and what it waits for: "Checking: 31 of 33, waiting for backend-sdpa"."""
    done = f"Checking: {result.finished} of {result.probes}"
    if not result.waiting:
        return done
    more = f" and {len(result.waiting) - 2} more" if len(result.waiting) > 2 else ""
    return f"{done}, waiting for {', '.join(result.waiting[:2])}{more}"


def run_with_progress(
    target: Target, capability_file: Path | None = None, output: Output | None = None
) -> DoctorRun:
    """Run the doctor, with progress, events, and errors on stderr. After Ctrl-C, print the report and exit."""
    output = output or Output()
    events = output.events
    if events:
        events.started([check.id for check in target.checks])
    with progress() as show_progress:

        def on_progress(result: ProbeResult) -> None:
            show_progress(result)
            if events:
                events.answered(result)

        run = run_doctor(target, capability_file, on_progress)
    for error in filter(None, (run.capability_error, run.save_error)):
        Printer(sys.stderr).sentence(error)
    if events:
        events.judged(run.report)
    if run.interrupted:
        output.show(run.report)
        raise typer.Exit(ExitStatus.INTERRUPTED)
    return run


def with_capability_error(status: int, run: DoctorRun) -> int:
    """The exit status, where a capability file that could not be written counts as a finding."""
    if run.capability_error and status in (ExitStatus.HEALTHY, ExitStatus.UNKNOWN):
        return ExitStatus.FINDINGS
    return status


def confirmed(question: str, printer: Printer) -> bool:
    """Ask on stderr. Anything but yes means no; so does a stdin that is not a terminal, which is explained."""
    if not (sys.stdin and sys.stdin.isatty()):
        printer.sentence("Cannot ask for confirmation, because stdin is not a terminal. To go ahead: --yes")
        return False
    sys.stderr.write(f"{question} [y/N] ")
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() in ("y", "yes")
