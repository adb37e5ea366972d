"""`aios guard`: run an updater or `pip install`, report changes to torch and the packages beside it, and restore them."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Annotated

import typer

from doctor.aios_home import changing_alone, environment_folder
from doctor.commands.common import confirmed, this_machine
from doctor.commands.options import PythonOption
from doctor.host import Host
from doctor.install.interrupted import repair_interrupted
from doctor.install.protection import PROTECTED, Harm, Kept, forget, harm, keep, leave, put_back
from doctor.install.restore_from_wheels import restore_from_wheels, why_no_wheel
from doctor.lock import HeldError
from doctor.report.console import Printer
from doctor.runs.commands_for_python import for_python
from doctor.runs.make_report import ExitStatus
from doctor.runs.run_folders import new_run_folder

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)


@dataclass(frozen=True)
class Guard:
    """One call. guard prints to stderr, because stdout belongs to the command."""

    host: Host
    yes: bool
    wheel_dir: Path | None
    printer: Printer

    def run(self, command: list[str]) -> int:
        """Back up the protected packages, run the command, compare; return the exit status. Raises OSError."""
        for repaired in repair_interrupted(self.host):
            self.printer.paragraph((), repaired.message)
        kept = keep(self.host, new_run_folder(self.host, datetime.now(timezone.utc)))
        if kept is None:
            self.printer.sentence(
                f"None of the protected packages is installed here: {', '.join(PROTECTED)}."
            )
            return self._call(command)
        self._warn_of_files_without_a_wheel(kept)
        try:
            status = self._call(command)
        except OSError:
            forget(kept)
            raise
        harmed = harm(self.host, kept)
        if not harmed.changes:
            forget(kept)
            return status
        return self._after(kept, harmed)

    def _call(self, command: list[str]) -> int:
        program = str(Path(command[0]).absolute()) if Path(command[0]).name != command[0] else command[0]
        try:
            return self.host.run_installer([program, *command[1:]])
        except KeyboardInterrupt:
            self.printer.line("Interrupted.")
            return int(ExitStatus.INTERRUPTED)

    def _warn_of_files_without_a_wheel(self, kept: Kept) -> None:
        """Name the packages whose files cannot be restored if the command overwrites them in place."""
        if kept.cloned:
            return
        for name in filter(kept.packages.__contains__, PROTECTED):
            if why := why_no_wheel(kept.packages[name], self.wheel_dir):
                self.printer.paragraph(
                    (),
                    f"{name}: files that the command overwrites in place cannot be restored, because {why}. "
                    "If you have its wheel, pass its folder: --wheel-dir DIR",
                )

    def _after(self, kept: Kept, harmed: Harm) -> int:
        self.printer.sentence(f"The command changed packages in {self.host.identity.prefix}:")
        for change in harmed.changes:
            self.printer.paragraph((f"  {self.printer.glyphs.arrow} ",), change)
        if not (self.yes or confirmed("Restore the previous packages?", self.printer)):
            leave(self.host, kept)
            there = self.host.identity.executable if self.host.identity.other_python else None
            command = for_python("aios undo", there)
            self.printer.sentence(f"The change is kept. To restore the previous packages: {command}", command)
            return ExitStatus.FINDINGS
        damaged = put_back(self.host, kept, harmed)
        downloads = environment_folder(self.host) / "downloads"
        left = restore_from_wheels(self.host, kept, damaged, self.wheel_dir, downloads) if damaged else {}
        for path, why in left.items():
            self.printer.paragraph(
                (f"  {self.printer.glyphs.arrow} ",), f"{path} could not be restored: {why}"
            )
        if left:
            return ExitStatus.FIX_FAILED
        self.printer.line("The previous packages are restored.")
        return ExitStatus.FINDINGS


@app.command(context_settings={"allow_interspersed_args": False})
def guard(
    command: Annotated[
        list[str], typer.Argument(metavar="-- COMMAND...", help="The command to run, such as pip install ...")
    ],
    python: PythonOption = None,
    yes: Annotated[bool, typer.Option("--yes", help="Restore without asking.")] = False,
    wheel_dir: Annotated[
        Path | None,
        typer.Option("--wheel-dir", metavar="DIR", help="A folder with wheels of the installed packages."),
    ] = None,
) -> None:
    """Run a command that changes packages, report changes to torch and the packages beside it, and restore them."""
    host = this_machine(python)
    try:
        with changing_alone(host, packages_only=True):
            status = Guard(host, yes, wheel_dir, Printer(sys.stderr)).run(command)
    except HeldError as error:
        raise typer.BadParameter(
            f"another run of aios ({error}) is changing this environment; wait until it ends"
        ) from error
    except OSError as error:
        sys.stderr.write(f"aios guard: {error}\n")
        raise typer.Exit(ExitStatus.FIX_FAILED) from error
    raise typer.Exit(status)
