"""`aios doctor explain-log`: name the cause of a failed install, build or training run from its log."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from doctor.checks import CHECKS
from doctor.commands.common import progress, this_machine
from doctor.diagnosis import diagnose
from doctor.failures.explanation import LogExplanation, explain
from doctor.failures.log import read
from doctor.failures.match import Sighting, find
from doctor.failures.table import failures
from doctor.models import Finding, to_json
from doctor.report.console import Printer
from doctor.report.log_explanation import print_explained
from doctor.runs.make_report import INTERRUPTED


def explain_log(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The log; - reads it from a pipe.")],
    json: Annotated[bool, typer.Option("--json", help="Print the explanation as JSON.")] = False,
) -> None:
    """Name the cause of a failed install, build or training run from its log."""
    log, table = read(_content(file)), failures()
    sightings = find(log, table)
    findings = _findings(sightings)
    explained = explain(sightings, table, findings)
    if json:
        sys.stdout.write(to_json(LogExplanation(matches=tuple(each.match for each in explained))))
        return
    print_explained(Printer(sys.stdout), explained, findings)
    if not explained:
        printer = Printer(sys.stderr)
        printer.line("No known failure was found in this log.")
        printer.line("Next, to diagnose this machine: aios doctor")


def _content(file: Path) -> bytes:
    if str(file) == "-" and not sys.stdin:
        raise typer.BadParameter("cannot read from a pipe: this program was started without stdin")
    try:
        return sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes()
    except OSError as error:
        raise typer.BadParameter(
            f"cannot read {file}: {error.strerror or error}. Give the file with the output of the failed command, "
            "or - to read from a pipe."
        ) from error


def _findings(sightings: Sequence[Sighting]) -> dict[str, Finding]:
    """What the checks of these failures find here, without those that use the network."""
    named = {seen.failure.check for seen in sightings}
    with progress() as on_progress:
        checks = [check for check in CHECKS if check.id in named and not check.online]
        diagnosis = diagnose(this_machine(), checks, on_progress=on_progress)
    if diagnosis.interrupted:
        raise typer.Exit(INTERRUPTED)
    return {finding.check: finding for finding in diagnosis.findings}
