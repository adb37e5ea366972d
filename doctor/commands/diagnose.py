"""`aios doctor`: diagnose the machine, print the report, and exit with a status for scripts."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from doctor.commands.options import PythonOption


def doctor(
    context: typer.Context,
    json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
    jsonl: Annotated[bool, typer.Option("--jsonl", help="Print one event a line while it runs.")] = False,
    markdown: Annotated[
        bool,
        typer.Option(
            "--markdown",
            help="Print the findings as Markdown, with names and paths of this machine.",
        ),
    ] = False,
    only: Annotated[
        list[str] | None, typer.Option(metavar="CHECK", help="Run only this check. Repeatable.")
    ] = None,
    skip: Annotated[
        list[str] | None, typer.Option(metavar="CHECK", help="Skip this check. Repeatable.")
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Treat warnings as errors.")] = False,
    offline: Annotated[bool, typer.Option("--offline", help="Do not use the network.")] = False,
    ascii: Annotated[bool, typer.Option("--ascii", help="Print ASCII only.")] = False,
    timeout: Annotated[
        float | None, typer.Option(min=0.1, metavar="SECONDS", help="Time limit for each probe.")
    ] = None,
    capability_file: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the capability file here.")
    ] = None,
    python: PythonOption = None,
    machine: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Diagnose a recorded machine, not this one.")
    ] = None,
    fix: Annotated[bool, typer.Option("--fix", help="Then apply all safe fixes.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="With --fix: do not ask.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="With --fix: only show the plan.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Show the evidence.")] = False,
) -> None:
    """Diagnose this machine. Changes nothing, except aios' own records and the capability file."""
    if context.invoked_subcommand:
        _refuse_options(context)
        return
    if json + jsonl + markdown > 1:
        raise typer.BadParameter("choose one of --json, --jsonl and --markdown")
    if (yes or dry_run) and not fix:
        raise typer.BadParameter("--yes and --dry-run require --fix")
    if machine and capability_file:
        raise typer.BadParameter(
            "--capability-file cannot be used with --machine: the file is for this machine"
        )
    if machine and fix and not dry_run:
        raise typer.BadParameter("a recorded machine cannot be fixed; add --dry-run to see the plan")
    if machine and python:
        raise typer.BadParameter("--python cannot be used with --machine, which is a recorded machine")
    # The checks are imported only here: the subcommands start without them
    from doctor.commands import common
    from doctor.commands.fix import fix_findings
    from doctor.runs.doctor_run import Target
    from doctor.runs.make_report import exit_status

    host = common.recorded_host(machine) if machine else common.this_machine(python)
    checks = common.selected(only, skip)
    target = Target(host, checks, timeout, recorded=machine is not None, offline=offline)
    form: common.Format = "json" if json else "jsonl" if jsonl else "markdown" if markdown else "console"
    output = common.Output(form, ascii, verbose)
    with output.closing_events(target):
        run = common.run_with_progress(target, capability_file, output)
        if fix:
            status = fix_findings(target, run, output, yes=yes, dry_run=dry_run, strict=strict)
        else:
            output.show(run.report)
            status = exit_status(run.report, strict=strict)
    raise typer.Exit(common.with_capability_error(status, run))


def _refuse_options(context: typer.Context) -> None:
    """Refuse options before a subcommand, which would be ignored."""
    for name in context.params:
        source = context.get_parameter_source(name)
        if source is not None and source.name == "COMMANDLINE":
            option = "--" + name.replace("_", "-")
            raise typer.BadParameter(f"{option} cannot be used with '{context.invoked_subcommand}'")
