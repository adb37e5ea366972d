"""`aios doctor explain`: what a check looks at, why it matters, how to fix it, and what it finds here."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from doctor.commands.common import plugins, progress, selected, this_machine
from doctor.commands.options import PythonOption
from doctor.diagnosis import diagnose
from doctor.failures.table import failures
from doctor.report.check_explanation import print_explanation, print_judgement
from doctor.report.console import Printer
from doctor.runs.make_report import ExitStatus


def explain(
    check: Annotated[str, typer.Argument(metavar="CHECK", help="Its id. To list them: aios doctor list")],
    python: PythonOption = None,
) -> None:
    """Explain what a check looks at, why it matters, how to fix it, and what it finds here."""
    host, printer = this_machine(python), Printer(sys.stdout)
    there = host.identity.executable if host.identity.other_python else None
    plugin_of = {known.id: plugin.distribution for plugin in plugins() for known in plugin.checks}
    for chosen in selected([check], None):
        rows = [row for row in failures().failures if row.check == chosen.id]
        predicted = [f"{row.id} {row.title}" for row in rows]
        print_explanation(printer, chosen, predicted, plugin_of.get(chosen.id))
        with progress() as on_progress:
            diagnosis = diagnose(host, [chosen], on_progress=on_progress)
        print_judgement(printer, diagnosis.findings[-1], there)
        if diagnosis.interrupted:
            raise typer.Exit(ExitStatus.INTERRUPTED)
