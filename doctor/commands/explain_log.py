"""`aios doctor explain-log`: name the cause of a failed install, build or training run from its log."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

import typer

from doctor.bounded import open_stream
from doctor.commands.options import PythonOption
from doctor.failures.explanation import LogExplanation, explain
from doctor.failures.log import pieces
from doctor.failures.match import Sighting, find_in
from doctor.failures.table import failures
from doctor.host import Host
from doctor.models import Finding, to_json
from doctor.report.console import Printer
from doctor.report.log_explanation import print_explained, print_machine
from doctor.runs.commands_for_python import for_python
from doctor.runs.make_report import ExitStatus

REPORT = "aios doctor report --output aios-report.md"


def explain_log(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The log; - reads it from a pipe.")],
    no_machine: Annotated[
        bool, typer.Option("--no-machine", help="Explain the log only; do not check this machine.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print the explanation as JSON.")] = False,
    python: PythonOption = None,
) -> None:
    """Name the cause of a failed install, build or training run from its log.

    What the log shows is printed at once, then what the checks of these failures find on this machine.
    """
    host = _host(python) if python else None
    sightings = _sightings(file)
    if json:
        findings = {} if no_machine else _findings(sightings, host)
        explained = explain(sightings, failures(), findings)
        sys.stdout.write(to_json(LogExplanation(matches=tuple(each.match for each in explained))))
        return
    explained = explain(sightings, failures(), {})
    printer = Printer(sys.stdout)
    there = _other_python(host)
    print_explained(printer, explained, there)
    sys.stdout.flush()
    if not explained:
        printer = Printer(sys.stderr)
        printer.line("No known failure was found in this log.")
        command = for_python("aios doctor", there)
        printer.sentence(f"Next, to diagnose this machine: {command}", command)
        return
    if no_machine:
        return
    _print_machine(printer, sightings, host)
    printer.line()
    command = for_python(REPORT, there)
    printer.sentence(f"Not solved? A report for an issue, without personal data: {command}", command)


def _host(python: Path | None) -> Host:
    from doctor.commands.common import this_machine

    return this_machine(python)


def _print_machine(printer: Printer, sightings: Sequence[Sighting], host: Host | None) -> None:
    """What this machine adds: the findings, and the cause again if they change the order of the causes."""
    findings = _findings(sightings, host)
    before, after = (explain(sightings, failures(), found) for found in ({}, findings))
    there = _other_python(host)
    print_machine(printer, before, findings, there)
    if after[0].match.title != before[0].match.title:
        printer.line()
        printer.paragraph((), f"This machine makes another cause the likelier one: {after[0].match.title}")
        printer.paragraph((f"{printer.glyphs.arrow} ",), for_python(after[0].match.fix, there))


def _other_python(host: Host | None) -> str | None:
    return host.identity.executable if host and host.identity.other_python else None


def _sightings(file: Path) -> tuple[Sighting, ...]:
    if str(file) == "-" and not sys.stdin:
        raise typer.BadParameter("cannot read from a pipe: this program was started without stdin")
    try:
        if str(file) == "-":
            return find_in(pieces(sys.stdin.buffer), failures())
        with open_stream(file) as stream:
            return find_in(pieces(stream), failures())
    except OSError as error:
        raise typer.BadParameter(
            f"cannot read {file}: {error.strerror or error}. Give the file with the output of the failed command, "
            "or - to read from a pipe."
        ) from error


def _findings(sightings: Sequence[Sighting], host: Host | None) -> Mapping[str, Finding]:
    """What the checks of these failures find here, without those that use the network."""
    # Imported only here: the log is explained without the checks
    from doctor.checks import CHECKS
    from doctor.commands.common import progress
    from doctor.diagnosis import diagnose

    named = {seen.failure.check for seen in sightings}
    with progress() as on_progress:
        checks = [check for check in CHECKS if check.id in named and not check.online]
        diagnosis = diagnose(host or _host(None), checks, on_progress=on_progress)
    if diagnosis.interrupted:
        raise typer.Exit(ExitStatus.INTERRUPTED)
    return {finding.check: finding for finding in diagnosis.findings}
