"""`aios doctor report`: what is wrong here, as a text that may be shown to everybody."""

from __future__ import annotations

import sys

import typer

from doctor.commands.common import known_checks, progress, this_machine
from doctor.report.markdown import to_markdown
from doctor.runs.make_report import INTERRUPTED
from doctor.runs.redacted_report import shareable


def report() -> None:
    """Print what is found here as Markdown to paste into an issue, without names, paths of yours or secrets."""
    with progress() as on_progress:
        shared = shareable(this_machine(), known_checks(), on_progress)
    if shared.interrupted:
        raise typer.Exit(INTERRUPTED)
    sys.stdout.write(to_markdown(shared.report, shared.versions))
