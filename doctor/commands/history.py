"""`aios doctor runs` and `diff`: what earlier runs found and changed."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from doctor.aios_home import is_being_changed, runs_folder
from doctor.commands.common import this_machine
from doctor.commands.print_runs import print_difference, print_installation, print_run
from doctor.fixes.executor import changes_in_effect
from doctor.host import Host
from doctor.install.install_record import read_installed
from doctor.models import Report
from doctor.report.console import Printer
from doctor.runs.differences import difference
from doctor.runs.history import read_report, read_run, run_folders, runs_with_changes
from doctor.runs.reminders import is_restart_due

NAME = "A run's name, or its beginning."


def runs() -> None:
    """What earlier runs found and changed, the newest first."""
    host, printer = this_machine(), Printer(sys.stdout)
    boot_time, busy = host.boot_time(), is_being_changed(host)
    for folder in _folders(host):
        try:
            if installed := read_installed(folder):
                print_installation(printer, installed)
                continue
            run = read_run(folder)
            print_run(
                printer,
                run,
                read_report(folder),
                undoable=bool(changes_in_effect(folder, host)),
                at_work=busy and not run.ended,
                restart_due=is_restart_due(run, boot_time),
            )
        except OSError as error:
            printer.line((folder.name, "bold"), f"  cannot be read: {error}")


def diff(
    a: Annotated[str, typer.Argument(metavar="A", help=NAME)],
    b: Annotated[str, typer.Argument(metavar="B", help=NAME)],
) -> None:
    """What is another in run B than it was in run A, and what aios changed between them."""
    host = this_machine()
    before, after = named_run(host, a), named_run(host, b)
    first, last = sorted((before.name, after.name))
    runs = [run for run in runs_with_changes(host) if first < run.folder.name <= last]
    installed = [(run, read_installed(run.folder)) for run in runs]
    between = [package or run for run, package in installed if package is None or package.stands]
    changed = difference(_report(before), _report(after))
    print_difference(Printer(sys.stdout), changed, between[::-1])


def named_run(host: Host, name: str) -> Path:
    """The folder of the one run whose name begins so."""
    folders = _folders(host)
    meant = [folder for folder in folders if folder.name.startswith(name)]
    if len(meant) == 1:
        return meant[0]
    known = ", ".join(folder.name for folder in (meant or folders)[:5]) or "none"
    fault = (
        f"'{name}' could be any of"
        if meant
        else f"there is no run '{name}' in {runs_folder(host)}; the newest are"
    )
    raise typer.BadParameter(f"{fault}: {known}")


def _folders(host: Host) -> tuple[Path, ...]:
    try:
        return run_folders(host)
    except OSError as error:
        raise typer.BadParameter(f"cannot look into {runs_folder(host)}: {error}") from error


def _report(folder: Path) -> Report:
    report = read_report(folder)
    if report is None:
        raise typer.BadParameter(f"the run {folder.name} has no report that can be read")
    return report
