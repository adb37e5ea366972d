"""What the doctor's commands share: the machine, the chosen checks, the examination, how a call talks."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import typer

from doctor.check import Check
from doctor.checks import CHECKS, UnknownCheckError, select
from doctor.diagnosis import Progress
from doctor.examination import Examination, Subject, examine
from doctor.host import Host
from doctor.host.live import live_host
from doctor.host.machine import MachineFileError, load_machine
from doctor.host.recorded import RecordedHost
from doctor.models import Report
from doctor.report.build import FINDINGS, HEALTHY, UNKNOWN, to_json
from doctor.report.console import Printer, print_report
from doctor.report.markdown import to_markdown


def this_machine() -> Host:
    """The host of every command that is given no recorded machine."""
    return live_host()


def known_checks() -> tuple[Check, ...]:
    """Every check that can be asked for."""
    return CHECKS


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
            groups = {check.id: check.group for check in known_checks()}
            print_report(report, groups, self.printer, self.verbose)


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
def progress() -> Iterator[Progress | None]:
    """On stderr, and only where that is a terminal."""
    if not sys.stderr.isatty():
        yield None
        return
    with Printer(sys.stderr).console.status("Looking", spinner="line") as status:
        yield lambda done, total: status.update(f"Looking: {done} of {total}")


def examined(subject: Subject, capability_file: Path | None = None) -> Examination:
    with progress() as on_progress:
        examination = examine(subject, capability_file, on_progress)
    if examination.trouble:
        Printer(sys.stderr).line(examination.trouble)
    return examination


def with_trouble(status: int, examination: Examination) -> int:
    """A capability file that could not be written is a finding, too."""
    return FINDINGS if examination.trouble and status in (HEALTHY, UNKNOWN) else status
