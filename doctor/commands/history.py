"""`aios history` and `aios doctor diff`: what earlier runs found and changed."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from doctor.aios_home import is_being_changed
from doctor.commands.common import host_of_run, this_machine
from doctor.fixes.executor import changes_in_effect
from doctor.fixes.journal import damage_of
from doctor.host import Host
from doctor.install.install_record import InstallRun, read_install_run
from doctor.install.print_installation import listed_installation, version_changes
from doctor.install.transaction import newest_in_effect
from doctor.models import Report, to_json
from doctor.report.console import Printer
from doctor.report.run_history import changes_of, kind_of, print_difference, print_run
from doctor.runs.answers import DifferenceAnswer, FactChange, FindingChange, ListedRun, RunChanges, RunList
from doctor.runs.differences import difference
from doctor.runs.history import read_report, read_run, runs_with_changes
from doctor.runs.reminders import is_restart_due
from doctor.runs.run_folders import run_folders, runs_folder

NAME = "The name of a run, or the start of it."


app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)


@app.command()
def history(
    json: Annotated[bool, typer.Option("--json", help="Print the runs as JSON.")] = False,
) -> None:
    """List the runs of the doctor and the installations, and what they changed, newest first. To undo one: aios undo RUN"""
    host, printer = this_machine(), Printer(sys.stderr if json else sys.stdout)
    locked, newest = is_being_changed(host), newest_in_effect(host)
    listed = []
    for folder in _folders(host):
        try:
            run = listed_run(folder, host, locked=locked, newest=newest)
        except OSError as error:
            printer.sentence(f"{folder.name}  cannot be read: {error}")
            continue
        listed.append(run)
        if not json:
            print_run(printer, run)
    if json:
        sys.stdout.write(to_json(RunList(runs=tuple(listed))))
    elif not listed:
        printer.sentence(
            "aios has not been run here yet. To diagnose this machine: aios doctor", "aios doctor"
        )


def listed_run(folder: Path, host: Host, *, locked: bool, newest: InstallRun | None) -> ListedRun:
    """Describe the run in a folder. Raises OSError."""
    if installed := read_install_run(folder):
        return listed_installation(installed, undoable=bool(newest and newest.folder == folder))
    run, report = read_run(folder), read_report(folder)
    there = host_of_run(run.plan, host)
    undoable = bool(there and changes_in_effect(folder, there))
    running = locked and not run.ended
    return ListedRun(
        run=folder.name,
        kind=kind_of(run, undoable, running),
        environment=run.plan.prefix,
        summary=report.summary if report else None,
        changes=tuple(changes_of(run)),
        undoable=undoable and not running,
        restart_due=is_restart_due(run, host.boot_time()),
        damage=damage_of(folder),
    )


def diff(
    a: Annotated[str, typer.Argument(metavar="A", help=NAME)] = "",
    b: Annotated[str, typer.Argument(metavar="B", help=NAME)] = "",
    json: Annotated[bool, typer.Option("--json", help="Print the differences as JSON.")] = False,
) -> None:
    """Show what changed between run A and run B, and what aios did. Default: the last two runs with a report."""
    host = this_machine()
    if a and not b:
        raise typer.BadParameter("give the names of two runs, or none for the last two")
    before, after = (named_run(host, a), named_run(host, b)) if a else _last_two(host)
    found = difference(_report(before), _report(after))
    first, last = sorted((before.name, after.name))
    changes = _changes_between(host, first, last)
    if not json:
        return print_difference(Printer(sys.stdout), found, changes)
    answer = DifferenceAnswer(
        before=before.name,
        after=after.name,
        facts=tuple(FactChange(name=each.name, before=each.before, after=each.after) for each in found.facts),
        findings=tuple(
            FindingChange(check=each.check, before=each.before, after=each.after) for each in found.findings
        ),
        changed_by=tuple(RunChanges(run=run, changes=tuple(lines)) for run, lines in changes),
    )
    sys.stdout.write(to_json(answer))
    return None


def _last_two(host: Host) -> tuple[Path, Path]:
    """The last two runs with a report, the older one first."""
    reported = [folder for folder in _folders(host) if read_report(folder)][:2]
    if len(reported) < 2:
        raise typer.BadParameter("there are no two runs to compare. Each `aios doctor` adds one.")
    return reported[1], reported[0]


def _changes_between(host: Host, first: str, last: str) -> list[tuple[str, list[str]]]:
    """The runs after `first`, up to `last`, that changed something: their names and changes, oldest first."""
    changes = []
    for run in reversed(runs_with_changes(host)):
        if first < run.folder.name <= last:
            installed = read_install_run(run.folder)
            if installed is None:
                changes.append((run.folder.name, changes_of(run)))
            elif installed.is_installed:
                changes.append((run.folder.name, version_changes(installed)))
    return changes


def named_run(host: Host, name: str) -> Path:
    """The folder of the one run whose name starts with `name`."""
    folders = _folders(host)
    matching = [folder for folder in folders if folder.name.startswith(name)]
    if len(matching) == 1:
        return matching[0]
    listed = ", ".join(folder.name for folder in (matching or folders)[:5]) or "none"
    if matching:
        raise typer.BadParameter(f"'{name}' is ambiguous; it could be: {listed}")
    raise typer.BadParameter(f"there is no run '{name}' in {runs_folder(host)}; the newest are: {listed}")


def _folders(host: Host) -> tuple[Path, ...]:
    try:
        return run_folders(host)
    except OSError as error:
        raise typer.BadParameter(f"cannot read {runs_folder(host)}: {error}") from error


def _report(folder: Path) -> Report:
    report = read_report(folder)
    if report is None:
        raise typer.BadParameter(f"the report of run {folder.name} is missing or damaged")
    return report
