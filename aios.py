"""The `aios` command. It lists its commands without importing them, and imports the one that is called."""

from __future__ import annotations

import base64
import errno
import hashlib
import importlib
import importlib.util
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup


@dataclass(frozen=True)
class Source:
    """Where a command is defined: a typer app, the `attribute` of `module`. `help` is its line in `aios --help`."""

    module: str
    attribute: str
    help: str


COMMANDS = {
    "doctor": Source("doctor.commands.app", "app", "Diagnose this machine, fix what is wrong, undo fixes."),
    "install": Source("doctor.commands.install", "app", "Install torch, flash-attn, xformers and Triton."),
    "undo": Source("doctor.commands.undo", "app", "Undo the newest fix or installation."),
    "history": Source("doctor.commands.history", "app", "List what aios found and changed here."),
    "guard": Source("doctor.commands.guard", "app", "Run an updater; restore torch if it breaks."),
    "wheels": Source("doctor.commands.wheels", "app", "Find the wheel that fits a machine."),
    "train": Source("trainer.commands.training", "train", "Train a language model."),
    "hrm-hf": Source("trainer.commands.hrm", "app", "Train a hierarchical reasoning model, HRM ACT v1."),
    "optimize": Source("trainer.commands.optimize", "optimize", "Measure settings, recommend the fastest."),
    "data": Source("trainer.commands.data", "app", "Show what is read and learned from data."),
    "plan": Source("trainer.commands.plan", "plan", "Plan the memory of a training run."),
    "fits": Source("trainer.commands.plan", "fits", "Check whether a model fits on a GPU."),
    "fetch": Source("trainer.commands.fetch", "fetch", "Download a model, after showing size and licence."),
    "generate": Source("trainer.commands.generation", "generate", "Sample text from a checkpoint."),
    "chat": Source("trainer.commands.chat", "chat", "Talk to a model in the terminal."),
    "export": Source("trainer.commands.export", "export", "Export a checkpoint for transformers or peft."),
    "runs": Source("trainer.commands.records", "runs", "List training runs and their state."),
    "plot": Source("trainer.commands.records", "plot", "Plot loss and tokens per second of training runs."),
    "gui": Source("gui.commands", "gui", "Open aios in the browser."),
}
EXIT_STATUSES = (
    "Exit status: 0 success, 1 problems found or failed, 2 usage error, 3 could not check, "
    "4 fix or installation failed, 5 restart needed, 130 interrupted."
)

UsageError: Any = typer.BadParameter.__mro__[1]  # typer has its own click
TYPE = re.compile(r"(?P<space> ?)<(?P<type>[^>]+)>")
METAVARS = {"str": "TEXT", "path": "PATH", "int": "INTEGER", "float": "NUMBER"}

# The packages that a command's package imports, with itself
NEEDED = {
    "doctor": ("doctor", "wheels"),
    "trainer": ("trainer", "doctor", "wheels"),
    "gui": ("gui", "trainer", "doctor", "wheels"),
}
PIPE_CLOSED = {errno.EPIPE, errno.EINVAL}  # on Linux, on Windows
CANNOT_WRITE = {errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EFBIG}
TERMINATION_SIGNALS = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]


class PlainCommand(TyperCommand):
    """A command whose help is plain text, with its options in sections (`rich_help_panel`)."""

    def get_help(self, ctx: Any) -> str:
        return as_started(super().get_help(ctx))

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        given = [*args]
        try:
            return super().parse_args(ctx, args)
        except UsageError as error:
            if advice := _advice(self, error, given):
                error.message, error.possibilities = advice, None
            raise

    def format_options(self, ctx: Any, formatter: Any) -> None:
        sections: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            usual = "Arguments" if parameter.param_type_name == "argument" else "Options"
            section = getattr(parameter, "rich_help_panel", None) or usual
            if record := parameter.get_help_record(ctx):
                name, description = record
                sections.setdefault(section, []).append((TYPE.sub(_metavar, name), description))
        for section, records in sections.items():
            with formatter.section(section):
                formatter.write_dl(records)


def _metavar(found: re.Match[str]) -> str:
    """What help shows for typer's `<int range>`, `<list[str]>` or `<a|b>`: INTEGER, nothing, [a|b]."""
    name = found["type"].removesuffix(" range")
    if name.startswith("list["):
        return ""
    return f"{found['space']}{METAVARS.get(name, f'[{name}]')}"


def _advice(command: TyperCommand, error: Any, arguments: list[str]) -> str | None:
    """What to write instead of a command line that was not understood; None if that is not clear."""
    option = getattr(error, "option_name", None)
    if option is not None:
        if not getattr(command.callback, "__module__", "").startswith("trainer."):
            return None
        from trainer.config.other_names import advice_for_option

        return advice_for_option(option)
    from doctor.commands.usage_advice import usage_advice

    return usage_advice(command.params, arguments)


class LazyGroup(TyperGroup):
    """Lists COMMANDS, and imports the one that is called."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.commands = {
            name: TyperCommand(name, callback=None, help=each.help) for name, each in COMMANDS.items()
        }

    def list_commands(self, ctx: Any) -> list[str]:
        return list(COMMANDS)

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args[:1] in (["help"], ["version"]):
            args = [*args[1:], "--help"] if args[0] == "help" else ["--version"]
        return super().parse_args(ctx, args)

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except UsageError as error:
            error.message = as_started(error.message)
            raise

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        name, _, rest = super().resolve_command(ctx, args)
        source = COMMANDS[str(name)]
        if problem := why_not_own(source, Path(__file__).absolute().parent, str(ctx.info_name)):
            typer.echo(f"Error: {problem}", err=True)
            raise typer.Exit(2)
        from doctor.started_as import set_command

        set_command(str(ctx.info_name), [*COMMANDS])
        return name, load(source), rest


def as_started(text: str) -> str:
    """Return a text with its `aios` commands as aios was started, see `doctor.started_as`."""
    from doctor import started_as

    return started_as.as_started(text)


def command_name() -> str:
    """Return how to start this aios from a terminal: `aios` if that is what PATH finds, else a full path, quoted.

    A launcher on PATH sets AIOS_COMMAND.
    """
    if name := os.environ.get("AIOS_COMMAND"):
        return name
    own = Path(sys.executable).with_name("aios.exe" if os.name == "nt" else "aios")
    found = shutil.which("aios")
    if found and own.is_file() and Path(found).samefile(own):
        return "aios"
    words = [str(own.with_suffix(""))] if own.is_file() else [sys.executable, "-m", "aios"]
    return subprocess.list2cmdline(words) if os.name == "nt" else shlex.join(words)


def load(source: Source) -> Any:
    """Import a command, and give it the help of all others: plain text, which every pipe shows, at 80 columns."""
    app: typer.Typer = getattr(importlib.import_module(source.module), source.attribute)
    app.rich_markup_mode = None
    for command in app.registered_commands:
        command.cls = PlainCommand
    loaded: Any = typer.main.get_command(app)
    loaded.command_class = PlainCommand  # for subcommands that a group imports when they are called
    return loaded


def why_not_own(source: Source, root: Path, started_as: str = "aios") -> str | None:
    """Return why Python would not import aios' own packages, which are in `root`, for a command; None if it would.

    Other projects use the same import names: installed beside aios they overwrite its files, or hide them. Only the
    `__init__.py` of each package is compared here; the doctor's check own-files compares all files. `started_as`: how
    this process was started.
    """
    for package in NEEDED[source.module.partition(".")[0]]:
        spec = importlib.util.find_spec(package)
        if spec is None or spec.origin is None:
            return f"The folder {root / package} is missing. Install aios again."
        if not _is_own(Path(spec.origin), package, root):
            advice = (
                ""
                if source.module.startswith("doctor")
                else f" What to do: {started_as} doctor --only own-files"
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


app = typer.Typer(
    cls=LazyGroup,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _print_version(wanted: bool) -> None:
    if wanted:
        from doctor.version import aios_version

        typer.echo(f"aios {aios_version()}")
        raise typer.Exit


@app.callback(epilog=EXIT_STATUSES, context_settings={"help_option_names": ["--help", "-h"]})
def aios(
    version: bool = typer.Option(
        False, "--version", callback=_print_version, is_eager=True, help="Show the version and exit."
    ),
) -> None:
    """Train language models with the fastest attention that runs on this machine."""


def _exit_on_signal(number: int, _frame: Any) -> None:
    sys.exit(128 + number)


def main() -> None:
    """Run `aios` with the arguments of this process."""
    for number in TERMINATION_SIGNALS:  # a normal exit runs the cleanup, such as ending child processes
        if signal.getsignal(number) == signal.SIG_DFL:
            signal.signal(number, _exit_on_signal)
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed by the parent process
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115 - stays open
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")  # unencodable text must not end a run
    try:
        try:
            app(prog_name=command_name())
        finally:
            sys.stdout.flush()
    except OSError as error:
        if error.errno not in PIPE_CLOSED | CANNOT_WRITE or error.filename is not None:
            raise
        if error.errno in CANNOT_WRITE:
            sys.stderr.write(f"aios: cannot write the output: {error.strerror}\n")
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python flushes stdout again at exit
        sys.exit(1)


if __name__ == "__main__":
    main()
