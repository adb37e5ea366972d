"""`aios doctor`: look at the machine, report, and end with the contract's exit status."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from doctor.commands.common import (
    Format,
    Output,
    examined,
    recorded_host,
    selected,
    this_machine,
    with_trouble,
)
from doctor.commands.fix import fix_findings
from doctor.runs.doctor_run import Subject
from doctor.runs.make_report import exit_status


def doctor(
    context: typer.Context,
    json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
    jsonl: Annotated[bool, typer.Option("--jsonl", help="Print events while it runs, one a line.")] = False,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print the report as Markdown.")] = False,
    only: Annotated[
        list[str] | None, typer.Option(metavar="CHECK", help="Only this check. Repeatable.")
    ] = None,
    skip: Annotated[
        list[str] | None, typer.Option(metavar="CHECK", help="Not this check. Repeatable.")
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Warnings count as errors.")] = False,
    offline: Annotated[bool, typer.Option("--offline", help="Leave out what uses the network.")] = False,
    ascii: Annotated[bool, typer.Option("--ascii", help="Print ASCII only.")] = False,
    timeout: Annotated[
        float | None, typer.Option(min=0.1, metavar="SECONDS", help="For each probe, in place of its own.")
    ] = None,
    capability_file: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Where to write what backends can do.")
    ] = None,
    machine: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Look at a recorded machine, not at this one.")
    ] = None,
    fix: Annotated[bool, typer.Option("--fix", help="Then fix all that can safely be fixed.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="With --fix: do not ask.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="With --fix: show what it would do.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Show the evidence.")] = False,
) -> None:
    if context.invoked_subcommand:
        _refuse_options(context)
        return
    if json + jsonl + markdown > 1:
        raise typer.BadParameter("choose one of --json, --jsonl and --markdown")
    if (yes or dry_run) and not fix:
        raise typer.BadParameter("--yes and --dry-run go with --fix")
    if machine and capability_file:
        raise typer.BadParameter("a recorded machine gives no capability file for this one")
    if machine and fix and not dry_run:
        raise typer.BadParameter("a recorded machine can only be fixed with --dry-run")
    host = recorded_host(machine) if machine else this_machine()
    subject = Subject(host, selected(only, skip), timeout, recorded=machine is not None, offline=offline)
    form: Format = "json" if json else "jsonl" if jsonl else "markdown" if markdown else "console"
    output = Output(form, ascii, verbose)
    with output.with_a_report_at_the_end(subject):
        examination = examined(subject, capability_file, output)
        if fix:
            status = fix_findings(subject, examination, output, yes=yes, dry_run=dry_run, strict=strict)
        else:
            output.show(examination.report)
            status = exit_status(examination.report, strict=strict)
    raise typer.Exit(with_trouble(status, examination))


def _refuse_options(context: typer.Context) -> None:
    """An option before a subcommand would be lost in silence."""
    for name in context.params:
        source = context.get_parameter_source(name)
        if source is not None and source.name == "COMMANDLINE":
            option = "--" + name.replace("_", "-")
            raise typer.BadParameter(f"{option} does not go with '{context.invoked_subcommand}'")
