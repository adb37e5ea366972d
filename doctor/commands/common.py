"""What the doctor's commands share: the machine, the chosen checks, the examination, how a call talks."""

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
from doctor.diagnosis import ProbeResult, Progress
from doctor.host import Host
from doctor.host.live import live_host
from doctor.host.machine import MachineFileError, load_machine
from doctor.host.recorded import RecordedHost
from doctor.models import Report
from doctor.plugins import Plugin, load_plugins
from doctor.report.console import Printer
from doctor.report.events import EventWriter
from doctor.report.findings import print_report
from doctor.report.markdown import to_markdown
from doctor.runs.doctor_run import Examination, Subject, examine, not_examined
from doctor.runs.make_report import FINDINGS, HEALTHY, INTERRUPTED, UNKNOWN, to_json

Format: TypeAlias = Literal["console", "json", "jsonl", "markdown"]


def this_machine() -> Host:
    """The host of every command that is given no recorded machine."""
    return live_host()


def known_checks() -> tuple[Check, ...]:
    """Every check that can be asked for."""
    return (*CHECKS, *(check for plugin in plugins() for check in plugin.checks))


def plugins() -> tuple[Plugin, ...]:
    """What other distributions bring. What they print while they are loaded is no report."""
    with redirect_stdout(sys.stderr):
        return load_plugins(CHECKS)


@dataclass(frozen=True)
class Output:
    """How this call talks. stdout is for the report; at a console also for what leads to it."""

    format: Format = "console"
    ascii: bool = False
    verbose: bool = False

    @property
    def printer(self) -> Printer:
        """For all that is not the report."""
        return Printer(sys.stdout if self.format == "console" else sys.stderr, self.ascii)

    @cached_property
    def events(self) -> EventWriter | None:
        """What is told while the run goes on, for programs that ask for it."""
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
            print_report(report, groups, self.printer, self.verbose)

    @contextmanager
    def with_a_report_at_the_end(self, subject: Subject) -> Iterator[None]:
        """Who reads events gets a report whatever ends the run."""
        reason = "interrupted"
        try:
            yield
        except Exception as error:
            reason = f"the doctor itself failed with {type(error).__name__}: {error}"
            raise
        finally:
            if self.events:
                self.events.close(lambda: not_examined(subject, reason))


def recorded_host(file: Path) -> Host:
    try:
        return RecordedHost(load_machine(file))
    except MachineFileError as error:
        raise typer.BadParameter(str(error)) from error


def selected(only: Sequence[str] | None, skip: Sequence[str] | None) -> tuple[Check, ...]:
    try:
        selected = select(known_checks(), only or (), skip or ())
    except UnknownCheckError as error:
        raise typer.BadParameter(str(error)) from error
    if not selected:
        raise typer.BadParameter("--only and --skip leave no check")
    return selected


@contextmanager
def progress() -> Iterator[Progress]:
    """On stderr, and only where that is a terminal. Meanwhile nothing else reaches stdout: a plugin may print."""
    with redirect_stdout(sys.stderr):
        if not sys.stderr.isatty():
            yield lambda result: None
            return
        with Printer(sys.stderr).console.status("Looking", spinner="line") as status:
            yield lambda result: status.update(f"Looking: {result.finished} of {result.probes}")


def examined(
    subject: Subject, capability_file: Path | None = None, output: Output | None = None
) -> Examination:
    """Look, and tell of it. An interrupted look is reported as far as it came, and ends the command."""
    output = output or Output()
    events = output.events
    if events:
        events.started([check.id for check in subject.checks])
    with progress() as show_progress:

        def on_progress(result: ProbeResult) -> None:
            show_progress(result)
            if events:
                events.answered(result)

        examination = examine(subject, capability_file, on_progress)
    for trouble in filter(None, (examination.trouble, examination.forgotten)):
        Printer(sys.stderr).line(trouble)
    if events:
        events.judged(examination.report)
    if examination.interrupted:
        output.show(examination.report)
        raise typer.Exit(INTERRUPTED)
    return examination


def with_trouble(status: int, examination: Examination) -> int:
    """A capability file that could not be written is a finding, too."""
    return FINDINGS if examination.trouble and status in (HEALTHY, UNKNOWN) else status
