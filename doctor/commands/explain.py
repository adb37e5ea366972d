"""`aios doctor explain`: what a check examines, why it matters, how to fix it, and what it finds here."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from doctor.check import Check
from doctor.commands.common import plugins, progress, selected, this_machine
from doctor.commands.options import PythonOption
from doctor.diagnosis import diagnose
from doctor.failures.table import failures
from doctor.models import Finding, to_json
from doctor.report.check_explanation import print_explanation, print_judgement
from doctor.report.console import Printer
from doctor.runs.answers import Explanation
from doctor.runs.make_report import ExitStatus


def explain(
    check: Annotated[str, typer.Argument(metavar="CHECK", help="Its id. To list them: aios doctor list")],
    json: Annotated[bool, typer.Option("--json", help="Print the explanation as JSON.")] = False,
    python: PythonOption = None,
) -> None:
    """Explain what a check examines, why it matters, how to fix it, and what it finds here."""
    host, printer = this_machine(python), Printer(sys.stdout)
    there = host.identity.executable if host.identity.other_python else None
    plugin_of = {known.id: plugin.distribution for plugin in plugins() for known in plugin.checks}
    for chosen in selected([check], None):
        rows = [row for row in failures().failures if row.check == chosen.id]
        predicted = [f"{row.id} {row.title}" for row in rows]
        plugin = plugin_of.get(chosen.id)
        if not json:
            print_explanation(printer, chosen, predicted, plugin)
        with progress() as on_progress:
            diagnosis = diagnose(host, [chosen], on_progress=on_progress)
        finding = diagnosis.findings[-1]
        if json:
            sys.stdout.write(to_json(_explanation(chosen, [row.id for row in rows], plugin, finding)))
        else:
            print_judgement(printer, finding, there)
        if diagnosis.interrupted:
            raise typer.Exit(ExitStatus.INTERRUPTED)


def _explanation(check: Check, predicts: list[str], plugin: str | None, finding: Finding) -> Explanation:
    return Explanation(
        check=check.id,
        group=check.group,
        systems=tuple(sorted(check.systems)),
        looks_at=check.looks_at,
        why=check.why,
        by_hand=check.by_hand,
        depends_on=tuple(cause.id for cause in check.because_of),
        predicts=tuple(predicts),
        plugin=plugin,
        finding=finding,
    )
