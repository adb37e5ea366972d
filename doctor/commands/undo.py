"""`aios undo`: undo the newest change of aios, a fix or an installation. `aios doctor undo` undoes fixes, without asking."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from doctor.aios_home import changing_alone
from doctor.commands.common import confirmed, host_of_run, known_checks, this_machine
from doctor.commands.fix import LOCKED
from doctor.commands.history import named_run
from doctor.commands.options import PythonOption
from doctor.fixes.executor import changes_in_effect
from doctor.fixes.executor import undo as undo_run
from doctor.fixes.journal import damage_of
from doctor.host import Host
from doctor.install.install_record import read_install_run
from doctor.install.print_installation import version_changes
from doctor.install.transaction import newest_in_effect
from doctor.lock import HeldError
from doctor.models import to_json
from doctor.report.changes import print_damage, print_outcomes
from doctor.report.console import Printer
from doctor.runs.answers import UndoAnswer, UndoneStep
from doctor.runs.history import newest_undoable_run, read_plan, read_run, unaccounted
from doctor.runs.make_report import ExitStatus
from doctor.runs.reminders import took_effect_by_restart
from doctor.runs.run_folders import runs_folder

RunArgument = Annotated[
    str | None,
    typer.Argument(metavar="RUN", help="Its name, or the start of it. Default: the newest."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)


@app.command()
def undo(
    run: RunArgument = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would be undone.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    json: JsonOption = False,
    python: PythonOption = None,
) -> None:
    """Undo the newest fix or installation, or the one of RUN. To list them: aios history"""
    host, printer = this_machine(python), Printer(sys.stderr if json else sys.stdout)
    try:
        folder = _newest(host) if run is None else named_run(host, run)
        changes = _changes(folder, host) if folder else []
    except OSError as error:
        printer.sentence(f"Cannot read what was changed from {runs_folder(host)}: {error}")
        raise typer.Exit(ExitStatus.FIX_FAILED) from error
    if folder is None:
        return _nothing(host, printer, json)
    printer.sentence(f"{folder.name}{_place(host)}:")
    for change in changes:
        printer.paragraph((f"  {printer.glyphs.arrow} ",), change)
    if dry_run:
        return None
    if not (yes or confirmed("Undo?", printer)):
        printer.line("Nothing was changed.")
        raise typer.Exit(ExitStatus.FINDINGS)
    if read_install_run(folder):
        from doctor.commands.install import install

        return install(undo=True, json=json, python=python)
    return undo_fix(folder.name, json, python)


def undo_fix(run: RunArgument = None, json: JsonOption = False, python: PythonOption = None) -> None:
    """Undo what a fix changed."""
    host, printer = this_machine(python), Printer(sys.stderr if json else sys.stdout)
    try:
        folder = _newest_fix(host) if run is None else named_run(host, run)
        if folder is None:
            return _nothing(host, printer, json)
        changed = _host_of(folder, host)
        if changed is None:
            raise typer.BadParameter(
                f"run {folder.name} changed {_changed_in(folder)}, which no longer exists or is not the Python given by --python"
            )
        host = changed
        printer.sentence(f"Undoing {folder.name}{_place(host)}:")
        restart = took_effect_by_restart(read_run(folder), host.boot_time())
        with changing_alone(host):
            known = [action for check in known_checks() for action in check.elevated]
            outcomes = undo_run(folder, host, known)
        damage, remaining = damage_of(folder), unaccounted(folder, host)
    except HeldError as error:
        printer.sentence(f"Nothing was undone: {LOCKED.format(error)}")
        raise typer.Exit(ExitStatus.FIX_FAILED) from error
    except OSError as error:
        printer.sentence(f"Cannot read what was changed from {runs_folder(host)}: {error}")
        raise typer.Exit(ExitStatus.FIX_FAILED) from error
    print_outcomes(printer, outcomes)
    if not outcomes:
        printer.sentence("There is nothing left to undo in this run.")
    if damage is not None:
        print_damage(printer, folder.name, damage, remaining)
    if json:
        answer = UndoAnswer(
            run=folder.name,
            steps=tuple(
                UndoneStep(action=each.step.action.describe(), result=each.result, reason=each.reason)
                for each in outcomes
            ),
            damage=damage,
            remaining=tuple(step.action.describe() for step in remaining),
            restart_needed=bool(restart and outcomes),
        )
        sys.stdout.write(to_json(answer))
    if remaining or not all(outcome.succeeded for outcome in outcomes):
        raise typer.Exit(ExitStatus.FIX_FAILED)
    if restart and outcomes:
        printer.line("Next: restart this computer to finish")
        raise typer.Exit(ExitStatus.RESTART)
    return None


def _nothing(host: Host, printer: Printer, json: bool) -> None:
    printer.sentence(f"There is nothing to undo{_place(host)}.")
    if json:
        sys.stdout.write(to_json(UndoAnswer(run=None)))


def _newest_fix(host: Host) -> Path | None:
    return newest_undoable_run(host, lambda each: _host_of(each, host))


def _newest(host: Host) -> Path | None:
    """The run folder of the newest fix or installation that is in effect. Raises OSError."""
    installed = newest_in_effect(host)
    folders = (_newest_fix(host), installed.folder if installed and installed.is_installed else None)
    return max(filter(None, folders), key=lambda folder: folder.name, default=None)


def _changes(folder: Path, host: Host) -> list[str]:
    """A line for each change that would be undone. Raises OSError, typer.BadParameter."""
    if installed := read_install_run(folder):
        newest = newest_in_effect(host)
        if newest is None or newest.folder != folder or not installed.is_installed:
            raise typer.BadParameter(
                f"the installation {folder.name} cannot be undone: only the newest one in this environment can, once"
            )
        return version_changes(installed)
    changed = _host_of(folder, host) or host
    return [entry.step.action.describe() for entry in changes_in_effect(folder, changed)]


def _host_of(folder: Path, host: Host) -> Host | None:
    """The host for undoing a run: that of the environment it changed, unless `host` is another one."""
    changed = read_plan(folder)
    if host.identity.other_python:
        return host if changed.prefix == host.identity.prefix else None
    return host_of_run(changed, host)


def _changed_in(folder: Path) -> str:
    return read_plan(folder).prefix or "the environment of aios"


def _place(host: Host) -> str:
    return f" in {host.identity.prefix}" if host.identity.other_python else ""
