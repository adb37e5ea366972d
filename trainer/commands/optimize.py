"""`aios optimize`: measures settings in child processes, and writes the fastest that fit as a configuration."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from trainer.commands.explanation import report_errors
from trainer.commands.options import canonical_spelling, with_config_options
from trainer.commands.output import echo
from trainer.config import TrainConfig, load, recommended
from trainer.errors import RunError, UserError
from trainer.optimization.candidates import Choices, candidates, left_out
from trainer.optimization.measurement import Measured, measure
from trainer.optimization.race import Result, race, ranked
from trainer.optimization.session import Session

OWN = ("output_dir", "log_file", "name", "resume")
WORDS = [
    "the",
    "quick",
    "brown",
    "fox",
    "jumps",
    "over",
    "a",
    "lazy",
    "dog",
    "while",
    "seven",
    "wizards",
    "box",
    "with",
    "grumpy",
    "quartz",
    "vixens",
]
WIDTH = 110  # columns of the table, when stdout is not a terminal

optimize = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@optimize.command(context_settings={"token_normalize_func": canonical_spelling})
@partial(with_config_options, without=OWN)
def run_optimize(
    overrides: dict[str, Any],
    config: Annotated[
        Path | None, typer.Option(help="YAML configuration of the run.", metavar="FILE")
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="Model folder or Hugging Face id, instead of model.name.")
    ] = None,
    batch_sizes: Annotated[str, typer.Option(help="Batch sizes to compare, such as 1,2,4,8.")] = "",
    chunk_sizes: Annotated[str, typer.Option(help="Chunk sizes to compare, with exact gradients.")] = "",
    windows: Annotated[
        str,
        typer.Option(
            help="Windows to compare, 0 for none. A window changes the model, so none is tried unasked."
        ),
    ] = "",
    backends: Annotated[str, typer.Option(help="Attention backends to compare.")] = "",
    search: Annotated[
        bool,
        typer.Option(
            "--search",
            help="Also combine batch sizes with chunks and gradient checkpointing, and stop slow candidates early.",
        ),
    ] = False,
    test_duration: Annotated[float, typer.Option(min=0.1, help="Seconds to measure a candidate.")] = 10.0,
    reserve: Annotated[
        float, typer.Option(min=0.0, max=0.9, help="Fraction of the memory that must stay free.")
    ] = 0.08,
    output_dir: Annotated[Path, typer.Option(help="Folder for the results.")] = Path(
        "artifacts/optimization"
    ),
    resume: Annotated[bool, typer.Option("--resume", help="Continue an interrupted session.")] = False,
    recommend_only: Annotated[
        bool,
        typer.Option(
            "--recommend-only",
            help="Print usual settings for --vram GiB, and for --context tokens or all lengths, and run nothing.",
        ),
    ] = False,
    context: Annotated[int | None, typer.Option(min=1, help="Tokens in a sequence.")] = None,
    vram: Annotated[float | None, typer.Option(min=0.1, help="Memory of the GPU in GiB.")] = None,
) -> None:
    """Measure settings of a run on this machine, and recommend the fastest that fit.

    Each candidate trains in a process of its own. The number of samples in a step stays that of the configuration. Every key
    of the configuration is an option here, too.
    """
    with report_errors():
        if recommend_only:
            _recommend(context, vram)
            return
        choices = Choices(
            _numbers("--batch-sizes", batch_sizes),
            _numbers("--chunk-sizes", chunk_sizes),
            _numbers("--windows", windows),
            [name.strip() for name in backends.split(",") if name.strip()],
        )
        settings = _configuration(config, overrides, model, choices, output_dir)
        base = settings.model_dump(mode="json", by_alias=False, exclude_unset=True)
        options = {
            "search": search,
            "test_duration": test_duration,
            "reserve": reserve,
            "choices": vars(choices),
        }
        session = Session(output_dir, {"base": base, **options}, resume)
        results = _measure_all(settings, base, choices, session, search, test_duration, reserve)
        session.finish(results, base)
        _print(results)
        _draw(results, session.plot)
        echo(f"Results: {session.results}")
        if not results or results[0].lost:
            raise RunError("No candidate can be recommended; the table says why.")
        echo(f'Train: aios train --config "{session.recommended}"')


def _recommend(context: int | None, memory: float | None) -> None:
    """Print the usual settings for a memory: for one length, or the table for all."""
    if memory is None:
        raise UserError("--recommend-only needs --vram (GiB), and --context (tokens) for a single length.")
    if context is not None:
        found = recommended.recommended(context, memory)
        echo(f"{context:,} tokens on {memory:g} GiB: {found} (usual settings, not measured here)")
        return
    echo(f"Usual settings with {memory:g} GiB, not measured here:")
    for row in reversed([*recommended.rows(memory)]):
        echo(f"  from {row.context:>7,} tokens: {row}")


def _configuration(
    file: Path | None, overrides: dict[str, Any], model: str | None, choices: Choices, folder: Path
) -> TrainConfig:
    """The configuration of the run; without a data set, on a text of a few words."""
    if file is None and "batch_size" not in overrides and choices.batch_sizes:
        overrides = {**overrides, "batch_size": max(choices.batch_sizes)}
    if model is not None:
        overrides = {**overrides, "name": model}
    if file is None and "dataset_file" not in overrides:
        folder.mkdir(parents=True, exist_ok=True)
        text = folder / "text.txt"
        text.write_text(" ".join(WORDS * 40_000), encoding="utf-8", newline="\n")
        overrides = {**overrides, "dataset_file": str(text)}
        echo(f"No data set given: measuring on {text}.", err=True)
    return _without_auto(load(file, overrides))


def _without_auto(settings: TrainConfig) -> TrainConfig:
    if "auto" not in (settings.model.window_size, settings.training.chunk_size):
        return settings
    from trainer.device import choose_device, total_memory

    memory = total_memory(choose_device(settings.training.device))
    settings, notes = recommended.resolve(settings, memory)
    for note in notes:
        echo(f"INFO: {note}", err=True)
    return settings


def _measure_all(
    settings: TrainConfig,
    base: dict[str, Any],
    choices: Choices,
    session: Session,
    search: bool,
    duration: float,
    reserve: float,
) -> list[Result]:
    found = candidates(settings, choices, search)
    for line in left_out(settings, choices):
        echo(f"WARNING: {line}", err=True)
    if not found:
        raise UserError("No candidate is left. Choose batch sizes that divide the samples of a step.")
    echo(f"{len(found)} candidates, {len(session.known)} of them measured before.", err=True)
    folder = Path(tempfile.mkdtemp(prefix="aios-optimize-"))
    number = iter(range(len(found)))

    def take(candidate: Any, give_up: Callable[[Measured], bool]) -> Measured:
        return measure(candidate, base, folder / str(next(number)), duration, give_up)

    def report(measured: Measured) -> None:
        session.add(measured)
        what = measured.error or f"{measured.tokens_per_second:,.0f} tokens/s"
        echo(f"{measured.candidate}: {what}{' (stopped early)' * measured.given_up}", err=True)

    try:
        return ranked(race(found, take, session.known, search, reserve, report), reserve)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _numbers(option: str, text: str) -> list[int]:
    try:
        found = [int(part) for part in text.split(",") if part.strip()]
    except ValueError:
        raise UserError(
            f"{option} {text!r}: expected whole numbers, separated by commas, such as 1,2,4."
        ) from None
    if any(number < 0 for number in found) or (option != "--windows" and 0 in found):
        raise UserError(f"{option} {text!r}: the numbers must be positive.")
    return found


def _print(results: Sequence[Result]) -> None:
    console = Console(highlight=False, markup=False)
    if not console.is_terminal:
        console = Console(highlight=False, markup=False, width=WIDTH)
    table = Table(
        "candidate", "tokens/s", "step", "peak memory", "why it lost", box=None, padding=(0, 2, 0, 0)
    )
    for result in results:
        measured = result.measured
        median = measured.median_seconds
        table.add_row(
            str(measured.candidate),
            f"{measured.tokens_per_second:,.0f}" if median else "-",
            f"{median:.3f} s" if median else "-",
            f"{measured.peak_memory / 2**20:,.0f} MiB" if measured.peak_memory else "-",
            result.lost or "recommended",
        )
    console.print(table)


def _draw(results: Sequence[Result], output: Path) -> None:
    """Draw tokens per second against memory, if matplotlib is installed."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return
    figure = Figure(figsize=(9, 5))
    axes = figure.subplots()
    for result in results:
        measured = result.measured
        if measured.median_seconds:
            colour = "#999999" if result.lost else "#0072B2"
            axes.plot(measured.peak_memory / 2**30, measured.tokens_per_second, "o", color=colour)
            axes.annotate(
                str(measured.candidate),
                (measured.peak_memory / 2**30, measured.tokens_per_second),
                fontsize=7,
            )
    axes.set_xlabel("peak memory in GiB")
    axes.set_ylabel("tokens per second")
    figure.savefig(output, dpi=120)
