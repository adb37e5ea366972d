"""`aios doctor`: lists its subcommands without importing them, and imports the one that is called."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from doctor.commands.diagnose import doctor


@dataclass(frozen=True)
class Source:
    """Where a subcommand is defined: `function` of `module`. `help` is its line in `aios doctor --help`."""

    module: str
    function: str
    help: str


COMMANDS = {
    "fix": Source("fix", "fix", "Show the plan, ask, apply it, and check again."),
    "undo": Source("undo", "undo_fix", "Undo what a fix changed."),
    "runs": Source("history", "history", "The same as aios history."),
    "diff": Source("history", "diff", "Show what changed between run A and run B, and what aios did."),
    "environments": Source("environments", "environments", "List the Python environments on this machine."),
    "cluster": Source("cluster", "cluster", "Compare the machines of a run, under torchrun."),
    "list": Source("list", "list_checks", "List the checks, one line each."),
    "explain": Source("explain", "explain", "Explain what a check examines, and how to fix it."),
    "explain-log": Source(
        "explain_log", "explain_log", "Name the cause of a failed install, build or training."
    ),
    "record": Source("record", "record", "Save what the doctor sees here, without personal data."),
    "report": Source("report", "report", "Print a report for an issue, without personal data."),
}


class LazyGroup(TyperGroup):
    """Lists COMMANDS without importing them. The one that is called is imported, as a `command_class`."""

    command_class: type[TyperCommand] = TyperCommand

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.commands = {
            name: TyperCommand(name, callback=None, help=each.help) for name, each in COMMANDS.items()
        }

    def list_commands(self, ctx: Any) -> list[str]:
        return list(COMMANDS)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        name, _, rest = super().resolve_command(ctx, args)
        return name, self.load(str(name)), rest

    def load(self, name: str) -> Any:
        """Import a subcommand."""
        source = COMMANDS[name]
        module = importlib.import_module(f"doctor.commands.{source.module}")
        single = typer.Typer(add_completion=False, rich_markup_mode=None)
        single.command(name, cls=self.command_class)(getattr(module, source.function))
        return typer.main.get_command(single)


app = typer.Typer(add_completion=False, invoke_without_command=True, cls=LazyGroup)
app.callback()(doctor)
