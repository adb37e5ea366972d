"""The `aios` command line. The module of a command is imported only when that command is called."""

from __future__ import annotations

import base64
import errno
import hashlib
import importlib
import importlib.util
import os
import signal
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup


@dataclass(frozen=True)
class Mounted:
    """A command of another module: `attribute` of `module` is a typer app or a click command."""

    module: str
    attribute: str
    help: str


COMMANDS = {
    "doctor": Mounted("doctor.commands.app", "app", "Diagnose this machine, fix problems, undo fixes."),
    "install": Mounted(
        "doctor.commands.install",
        "app",
        "Install the torch, flash-attn, xformers and Triton that fit this machine.",
    ),
    "wheels": Mounted(
        "doctor.commands.wheels",
        "app",
        "Find the published wheel for a machine; list and refresh the catalogue of wheels.",
    ),
    "train": Mounted(
        "trainer.commands.training", "train", "Train a language model from a YAML configuration."
    ),
    "hrm-hf": Mounted("trainer.commands.hrm", "app", "Train a hierarchical reasoning model, HRM ACT v1."),
    "generate": Mounted("trainer.commands.training", "generate", "Sample text from a checkpoint."),
    "export": Mounted("trainer.commands.export", "export", "Write a checkpoint for transformers or peft."),
    "runs": Mounted("trainer.commands.records", "runs", "List training runs and their state."),
    "plot": Mounted("trainer.commands.records", "plot", "Plot loss and tokens per second of runs."),
}


# The packages that a command's package imports, with itself
NEEDED = {"doctor": ("doctor", "wheels"), "trainer": ("trainer", "doctor", "wheels")}
READER_IS_GONE = {errno.EPIPE, errno.EINVAL}  # errors of writing to a closed pipe on Linux and Windows
CANNOT_WRITE = {errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EFBIG}
ENDING_SIGNALS = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]


class FrontDoor(TyperGroup):
    """Lists the commands of COMMANDS; imports the one that is called."""

    def list_commands(self, ctx: Any) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        mounted = COMMANDS.get(cmd_name)
        return mounted and TyperCommand(cmd_name, callback=None, help=mounted.help)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        name, _, rest = super().resolve_command(ctx, args)
        mounted = COMMANDS[str(name)]
        if problem := why_not_own(mounted, Path(__file__).absolute().parent):
            typer.echo(f"Error: {problem}", err=True)
            raise typer.Exit(2)
        target = getattr(importlib.import_module(mounted.module), mounted.attribute)
        command = typer.main.get_command(target) if isinstance(target, typer.Typer) else target
        return name, command, rest


def why_not_own(mounted: Mounted, root: Path) -> str | None:
    """Return why Python would not import aios' own packages, which are in `root`, for a command; None if it would.

    Other projects use the same import names: installed beside aios they overwrite its files, or hide them. Only the
    `__init__.py` of each package is compared here; the doctor's check own-files compares all files.
    """
    for package in NEEDED[mounted.module.partition(".")[0]]:
        spec = importlib.util.find_spec(package)
        if spec is None or spec.origin is None:
            return f"The folder {root / package} is missing. Install aios again."
        if not _is_own(Path(spec.origin), package, root):
            advice = (
                "" if mounted.module.startswith("doctor") else " What to do: aios doctor --only own-files"
            )
            owner = _owner(Path(spec.origin), package)
            return (
                f"Python imports {package} from {Path(spec.origin).parent}, which belongs to {owner}, not to aios. "
                f"aios needs an environment of its own.{advice}"
            )
    return None


def _is_own(found: Path, package: str, root: Path) -> bool:
    own = root / package / "__init__.py"
    if found != own and not (own.exists() and found.samefile(own)):
        return False
    recorded = [
        each for record in root.glob("aios_doctor-*.dist-info/RECORD") for each in _hashes(record, package)
    ]
    return not recorded or _hash(found) in recorded


def _owner(found: Path, package: str) -> str:
    """Return the distributions whose RECORD lists the package, beside aios: "trainer-0.0.36"."""
    records = [record for record in found.parents[1].glob("*.dist-info/RECORD") if _hashes(record, package)]
    names = sorted(record.parent.stem for record in records)
    return " and ".join(name for name in names if not name.startswith("aios_doctor-")) or "another project"


def _hashes(record: Path, package: str) -> list[str]:
    """Return the hash that a RECORD lists for the package's `__init__.py`; nothing if it does not list it."""
    rows = record.read_text(encoding="utf-8", errors="replace").splitlines()
    return [row.split(",")[1] for row in rows if row.startswith(f"{package}/__init__.py,")]


def _hash(path: Path) -> str:
    """Return the hash of a file in the form of a RECORD."""
    digest = base64.urlsafe_b64encode(hashlib.sha256(path.read_bytes()).digest())
    return "sha256=" + digest.decode().rstrip("=")


app = typer.Typer(cls=FrontDoor, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)


def _print_version(wanted: bool) -> None:
    if wanted:
        from doctor.version import aios_version

        typer.echo(f"aios {aios_version()}")
        raise typer.Exit


@app.callback()
def aios(
    version: bool = typer.Option(
        False, "--version", callback=_print_version, is_eager=True, help="Show the version and stop."
    ),
) -> None:
    """Train language models on the fastest attention backend that works on this machine."""


def _end(number: int, _frame: Any) -> None:
    sys.exit(128 + number)


def main() -> None:
    """Run `aios` with the arguments of this process."""
    for number in ENDING_SIGNALS:  # sys.exit runs cleanup, such as ending child processes
        if signal.getsignal(number) == signal.SIG_DFL:
            signal.signal(number, _end)
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # the caller closed it
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115 - for good
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")  # a cp1252 pipe must not end a run
    try:
        try:
            app(prog_name="aios")
        finally:
            sys.stdout.flush()
    except OSError as error:
        if error.errno not in READER_IS_GONE | CANNOT_WRITE or error.filename is not None:
            raise
        if error.errno in CANNOT_WRITE:
            sys.stderr.write(f"aios: cannot write the output: {error.strerror}\n")
        os.dup2(
            os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno()
        )  # Python flushes stdout again when it exits
        sys.exit(1)


if __name__ == "__main__":
    main()
