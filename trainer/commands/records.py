"""`aios runs` and `aios plot`: list and draw the records of runs, without importing torch."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text
from typer.core import TyperGroup

from doctor.visible import visible
from trainer.commands.explanation import report_errors
from trainer.commands.output import echo, echo_json
from trainer.commands.run_comparison import side_by_side
from trainer.records.comparison import compare
from trainer.records.curves import Axis, curves
from trainer.records.plot import draw
from trainer.records.reading import find
from trainer.records.runs import RunSummary, summarize
from trainer.survival.lock import is_locked

SCHEMA_VERSION = 1
NOTHING = "-"
PIPE_WIDTH = 200  # columns, when stdout is not a terminal
STYLES = {"running": "cyan", "finished": "green", "stopped": "yellow", "aborted": "red", "killed": "red"}
UNITS = ((1e9, "B"), (1e6, "M"), (1e3, "K"))


class DefaultGroup(TyperGroup):
    """A group that runs its command `list` if no command is named: `aios runs FOLDER`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        named = args and (args[0] in self.commands or args[0] == "--help")
        rest: list[str] = super().parse_args(ctx, args if named else ["list", *args])
        return rest


runs = typer.Typer(cls=DefaultGroup, add_completion=False, pretty_exceptions_enable=False)
plot = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@runs.callback()
def run_group() -> None:
    """List training runs, or compare two. `aios runs FOLDER` lists."""


@runs.command("list")
def run_runs(
    folder: Annotated[
        Path, typer.Argument(help="Folder to search, with its subfolders; or a log file.")
    ] = Path("artifacts"),
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, with more details.")] = False,
) -> None:
    """List training runs and their state, the newest first."""
    with report_errors():
        found = [summarize(run, run.number == run.of and is_locked(run.log)) for run in find(folder)]
    found.sort(key=lambda run: run.started or "", reverse=True)
    if as_json:
        echo_json({"schema_version": SCHEMA_VERSION, "runs": [run.to_json() for run in found]})
    else:
        _print(found)


@runs.command("compare")
def run_compare(
    a: Annotated[Path, typer.Argument(metavar="A", help="Folder of a run, or its log file.")],
    b: Annotated[Path, typer.Argument(metavar="B", help="Folder of the other run, or its log file.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Compare two runs: configuration, losses, speed.

    A log file with several runs means its last one.
    """
    with report_errors():
        pair = find(a)[-1], find(b)[-1]
        found = compare(*pair, (is_locked(pair[0].log), is_locked(pair[1].log)))
    if as_json:
        echo_json(found.to_json())
    else:
        echo(side_by_side(found))


@plot.command()
def run_plot(
    paths: Annotated[
        list[Path], typer.Argument(metavar="RUN", help="Folder with one or more runs; or a log file.")
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            help="The .png, .svg or .pdf file to write. Default: metrics.png next to the first run's log."
        ),
    ] = None,
    x: Annotated[Axis, typer.Option(help="The horizontal axis: steps, tokens or time.")] = "steps",
    smooth: Annotated[
        int | None,
        typer.Option(
            min=1, help="Number of records to average over. Default: 1/50 of those of the longest run."
        ),
    ] = None,
    log: Annotated[bool, typer.Option("--log", help="Draw losses on a logarithmic scale.")] = False,
    last: Annotated[bool, typer.Option("--last", help="Draw only the last run of each log file.")] = False,
) -> None:
    """Plot loss and tokens per second of runs."""
    with report_errors():
        found = [run for path in paths for run in find(path)]
        chosen = [curves(run, x) for run in found if not last or run.number == run.of]
        longest = max(len(run.loss.x) for run in chosen)
        output = output or found[0].log.with_suffix(".png")
        draw(chosen, x, smooth or max(1, longest // 50), log, output)
    echo(f"{output}")


def _print(found: list[RunSummary]) -> None:
    """Print a table with two lines per run, so that a row fits into 80 columns."""
    console = Console(highlight=False, markup=False, width=None if sys.stdout.isatty() else PIPE_WIDTH)
    table = Table(box=None, padding=(0, 2, 1, 0), header_style="bold")
    table.add_column("run\nstarted", overflow="fold")
    for heading in ("model\nparameters", "steps\nstate"):
        table.add_column(heading, no_wrap=True)
    for heading in ("loss\nheld out", "bits/byte\ntokens/s"):
        table.add_column(heading, no_wrap=True, justify="right")
    table.add_column("backend\nwindow", no_wrap=True)
    for run in found:
        steps = f"{run.step:,}" if run.steps is None else f"{run.step:,}/{run.steps:,}"
        started = run.started.astimezone().strftime("%Y-%m-%d %H:%M") if run.started else NOTHING
        table.add_row(
            Text(visible(run.name), "bold").append(f"\n{started}", "not bold"),
            f"{visible(run.model or NOTHING)}\n{_short(run.parameters)}",
            Text(f"{steps}\n").append(run.state, STYLES[run.state]),
            f"{_figure(run.loss)}\n{_figure(run.eval_loss)}",
            f"{_figure(run.bits_per_byte)}\n{_figure(run.tokens_per_second, ',.0f')}",
            f"{visible(str(run.backend or NOTHING))}\n{run.window_size or 'no window'}",
        )
    console.print(table)
    for run in found:
        if run.state == "aborted":
            console.print(visible(f"{run.name}: {run.reason}"), soft_wrap=True)


def _figure(value: float | None, form: str = ".3f") -> str:
    return NOTHING if value is None else format(value, form)


def _short(count: int | None) -> str:
    """124M for 124,439,808."""
    if count is None:
        return NOTHING
    size, unit = next(((size, unit) for size, unit in UNITS if count >= size), (1, ""))
    return f"{count / size:.3g}{unit}"
