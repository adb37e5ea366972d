"""`aios doctor report`: a report that can be shared, without personal data."""

from __future__ import annotations

import sys

import typer

from doctor.commands.common import known_checks, progress, this_machine
from doctor.commands.options import PythonOption
from doctor.report.markdown import to_markdown
from doctor.runs.make_report import ExitStatus
from doctor.runs.redacted_report import redacted_report


def report(python: PythonOption = None) -> None:
    """Print a Markdown report for an issue, without user names, host names, personal paths and secrets."""
    with progress() as on_progress:
        shared = redacted_report(this_machine(python), known_checks(), on_progress)
    if shared.interrupted:
        raise typer.Exit(ExitStatus.INTERRUPTED)
    sys.stdout.write(to_markdown(shared.report, shared.versions))
