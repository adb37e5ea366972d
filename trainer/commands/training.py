"""`aios train`. torch is imported when a run starts, so that `--help` is quick."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from doctor.quoting import for_this_system
from trainer import early_checks
from trainer.commands.explanation import report_errors
from trainer.commands.fetch import offer
from trainer.commands.options import with_config_options, with_model
from trainer.commands.output import echo, echo_error
from trainer.commands.required_packages import require_training_packages
from trainer.config import TrainConfig, load
from trainer.distributed import launch

if TYPE_CHECKING:
    from trainer.run import Summary

CapabilityFile = Annotated[
    Path | None, typer.Option(help="Capability file to use instead of the one written by `aios doctor`.")
]
Strict = Annotated[
    bool,
    typer.Option(
        "--strict", help="Treat warnings as errors; fail if the requested attention backend is not available."
    ),
]
Force = Annotated[
    bool, typer.Option("--force", help="Start even if the memory estimate says the run will not fit.")
]
DryRun = Annotated[
    bool,
    typer.Option("--dry-run", help="Check everything and show what the run would do, without training."),
]
StrictCapability = Annotated[
    bool,
    typer.Option(
        "--strict-capability", help="Fail if the capability file is missing, damaged or out of date."
    ),
]

Processes = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="Number of processes to launch, one per GPU, with torchrun's launcher. Default: 1, or the number that torchrun "
        "has launched.",
    ),
]

train = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@train.command(context_settings={"token_normalize_func": with_model})
@with_config_options
def run_train(
    overrides: dict[str, Any],
    config: Annotated[
        Path | None,
        typer.Option(help="YAML configuration file. The options below override its keys.", metavar="FILE"),
    ] = None,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume", help="Resume from the newest intact checkpoint in output_dir, if there is one."
        ),
    ] = False,
    processes: Processes = None,
    strict: Strict = False,
    strict_capability: StrictCapability = False,
    capability_file: CapabilityFile = None,
    force: Force = False,
    dry_run: DryRun = False,
) -> None:
    """Train a language model, from scratch or from existing weights.

    Every key of the configuration file is also an option; --window_size and --model.window-size mean --window-size.
    """
    with report_errors():
        settings = load(config, overrides)
        if settings.model.name:
            offer(settings.model.name)
        options = {
            "resume": resume,
            "strict": strict,
            "strict_capability": strict_capability,
            "capability_file": capability_file,
            "force": force,
            "dry_run": dry_run,
        }
        status = train_and_report(settings, processes, options)
    raise typer.Exit(status)


def train_and_report(
    settings: TrainConfig,
    processes: int | None,
    options: Mapping[str, Any],
    finish: Callable[[Summary], None] | None = None,
) -> int:
    """Train as configured, in this process or in launched ones, and print the result.

    Args:
        processes: number of processes to launch, if any.
        options: the fields of `trainer.start.Options`.
        finish: called with the result, in the first process.

    Returns:
        The exit status: 0, 130 for a run that was stopped, or that of the launched processes. Under torchrun with
        --max-restarts a stopped run also ends with 0: it would be started again otherwise.
    """
    with launch.located():
        return _train_and_report(settings, processes, options, finish)


def _train_and_report(
    settings: TrainConfig,
    processes: int | None,
    options: Mapping[str, Any],
    finish: Callable[[Summary], None] | None,
) -> int:
    early_checks.check(settings, resume=options["resume"], writing=launch.world_size() is None)
    require_training_packages()
    # OpenMP reads this when torch is loaded. With it, threads that wait for each other sleep. Spinning threads make a step
    # up to three times as slow when other programs are running, and gain nothing when none are.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    if count := launch.processes_to_launch(processes):
        return launch.launch(count)
    from trainer.distributed.processes import exit_now, process_group
    from trainer.records.progress import Reporter
    from trainer.run import run
    from trainer.start import Options

    with process_group(settings.training.hang_timeout, echo_error) as group:
        summary = run(settings, Options(**options), Reporter(quiet=not group.first), group)
        if group.first and summary is None:
            echo("Dry run: nothing was trained. To train, run the same command without --dry-run.")
        elif group.first and summary:
            if finish:
                finish(summary)
            _report(settings, summary)
    stopped = summary is not None and not summary.completed
    status = 130 if stopped and not launch.restarted_after_failure() else 0
    if group.count > 1:
        exit_now(status)
    return status


def _report(settings: TrainConfig, summary: Summary) -> None:
    """Print the result of a run, and what to do next."""
    folder, log = settings.output.output_dir, settings.log_file
    if not summary.completed:
        echo(f"Stopped after step {summary.position.step}. Continue with --resume. Records: {log}")
        return
    if not summary.steps_taken:
        echo(
            f"This run is complete: step {summary.position.step} of {settings.training.steps}. To train further, give more --steps."
        )
    evaluation = summary.evaluation
    if evaluation and evaluation.bits_per_byte is not None:
        echo(
            f"Held-out text: {evaluation.bits_per_byte:.3f} bits per byte "
            f"(entropy of the text: {summary.unigram_entropy:.3f} by single bytes, {summary.bigram_entropy:.3f} by pairs)"
        )
    elif evaluation:
        accuracy, margin = (evaluation.measured[f"rewards_{name}"] for name in ("accuracy", "margin"))
        echo(f"Held-out pairs: {accuracy:.0%} in the right order, mean reward margin {margin:.4f}")
    if summary.tokens_per_second:
        share = f"MFU {summary.mfu:.1%}" if summary.mfu else f"no MFU: {summary.no_mfu}"
        echo(f"Median step: {summary.tokens_per_second:,.0f} tokens/s ({share})")
    echo(f"Checkpoints: {folder}\nRecords: {log}")
    echo(f'Sample: aios generate --checkpoint {for_this_system(str(folder))} --prompt "The "')
