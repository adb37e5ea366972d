"""`aios doctor runs` and `diff`: what earlier runs found and changed."""

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
from doctor.install.install_record import read_install_run
from doctor.install.print_installation import print_installation, version_changes
from doctor.models import Report
from doctor.report.console import Printer
from doctor.report.run_history import changes_of, print_difference, print_run
from doctor.runs.differences import difference
from doctor.runs.history import read_report, read_run, runs_with_changes
from doctor.runs.reminders import is_restart_due
from doctor.runs.run_folders import run_folders, runs_folder

NAME = "The name of a run, or the start of it."


def runs() -> None:
    """List earlier runs and what they changed, newest first."""
    host, printer = this_machine(), Printer(sys.stdout)
    boot_time, locked = host.boot_time(), is_being_changed(host)
    for folder in _folders(host):
        try:
            if installed := read_install_run(folder):
                print_installation(printer, installed)
                continue
            run = read_run(folder)
            there = host_of_run(run.plan, host)
            print_run(
                printer,
                run,
                read_report(folder),
                undoable=bool(there and changes_in_effect(folder, there)),
                running=locked and not run.ended,
                restart_due=is_restart_due(run, boot_time),
            )
            if damage := damage_of(folder):
                printer.paragraph(("    ",), f"Its journal {damage}.")
        except OSError as error:
            printer.line((folder.name, "bold"), f"  cannot be read: {error}")


def diff(
    a: Annotated[str, typer.Argument(metavar="A", help=NAME)],
    b: Annotated[str, typer.Argument(metavar="B", help=NAME)],
) -> None:
    """Show what changed between run A and run B, and what aios did."""
    host = this_machine()
    before, after = named_run(host, a), named_run(host, b)
    difference_found = difference(_report(before), _report(after))
    first, last = sorted((before.name, after.name))
    print_difference(Printer(sys.stdout), difference_found, _changes_between(host, first, last))


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
