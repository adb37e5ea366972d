"""`aios doctor report`: a report that can be shared, without personal data."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from doctor.commands.common import known_checks, progress, this_machine
from doctor.commands.options import PythonOption
from doctor.files import write_atomically
from doctor.models import to_json
from doctor.report.console import Printer
from doctor.report.markdown import to_markdown
from doctor.runs.make_report import ExitStatus
from doctor.runs.redacted_report import redacted_report


def report(
    output: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write the report to this file instead of printing it."),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
    python: PythonOption = None,
) -> None:
    """Print a Markdown report for an issue, without user names, host names, personal paths and secrets."""
    with progress() as on_progress:
        shared = redacted_report(this_machine(python), known_checks(), on_progress)
    if shared.interrupted:
        raise typer.Exit(ExitStatus.INTERRUPTED)
    text = to_json(shared.report) if json else to_markdown(shared.report, shared.versions)
    if output is None:
        sys.stdout.write(text)
        return
    try:
        write_atomically(output, text.encode("utf-8"))
    except OSError as error:
        raise typer.BadParameter(
            f"cannot write {output}: {error.strerror or error}", param_hint="--output"
        ) from error
    Printer(sys.stdout).sentence(f"Report without personal data: {output.absolute()}")
