"""`aios train` and `aios generate`. torch is imported when a run begins, so `--help` is quick."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from trainer.commands.explanation import told_errors
from trainer.commands.options import canonical_spelling, with_config_options
from trainer.config import Backend, TrainConfig, load
from trainer.distributed import launch

if TYPE_CHECKING:
    from trainer.run import Summary

CapabilityFile = Annotated[
    Path | None, typer.Option(help="Capability file to read instead of the one that `aios doctor` wrote.")
]
Strict = Annotated[
    bool, typer.Option("--strict", help="Stop if the attention backend that was named cannot be had.")
]
Force = Annotated[
    bool, typer.Option("--force", help="Start though memory will not do, as far as can be foreseen.")
]
StrictCapability = Annotated[
    bool,
    typer.Option("--strict-capability", help="Stop if the capability file is missing, damaged or stale."),
]

Processes = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="Processes to train in, each on a GPU of its own; torchrun is started for it. Default: 1, or those that "
        "torchrun has started.",
    ),
]

train = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
generate = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@train.command(context_settings={"token_normalize_func": canonical_spelling})
@with_config_options
def run_train(
    overrides: dict[str, Any],
    config: Annotated[
        Path | None, typer.Option(help="YAML file; the options below override its keys.", metavar="FILE")
    ] = None,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume", help="Go on from the newest whole checkpoint in output_dir, if there is one."
        ),
    ] = False,
    processes: Processes = None,
    strict: Strict = False,
    strict_capability: StrictCapability = False,
    capability_file: CapabilityFile = None,
    force: Force = False,
) -> None:
    """Train a language model: continue one, or start from scratch.

    Every key of the configuration file is an option; --window_size and --model.window-size mean --window-size.
    """
    with told_errors():
        settings = load(config, overrides)
        told = {"resume": resume, "strict": strict, "strict_capability": strict_capability, "force": force}
        status = carry_out(settings, processes, {**told, "capability_file": capability_file})
    raise typer.Exit(status)


def carry_out(
    settings: TrainConfig,
    processes: int | None,
    told: Mapping[str, Any],
    finish: Callable[[Summary], None] | None = None,
) -> int:
    """Train as configured, in this process or in several that are started for it, and tell how it ended.

    Args:
        told: the fields of `trainer.start.Options`.
        finish: what there is to do with the result, in one process.

    Returns:
        The exit status: 0, 130 for a run that was stopped, or that of the processes.
    """
    # Read by OpenMP when torch is loaded: threads that wait for each other sleep. Spinning, they slow a step down to
    # a third where other programs run, and gain nothing where none do.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    if count := launch.to_be_started(processes):
        return launch.start(count)
    from trainer.distributed.processes import joined, leave
    from trainer.records.progress import Reporter
    from trainer.run import run
    from trainer.start import Options

    with joined() as among:
        summary = run(settings, Options(**told), Reporter(quiet=not among.first), among)
        if among.first:
            if finish:
                finish(summary)
            _tell(settings, summary)
    status = 0 if summary.completed else 130
    if among.count > 1:
        leave(status)
    return status


def _tell(settings: TrainConfig, summary: Summary) -> None:
    """How a run ended, and what to do next."""
    folder, log = settings.output.output_dir, settings.log_file
    if not summary.completed:
        typer.echo(f"Stopped after step {summary.position.step}. Go on with --resume. Records: {log}")
        return
    if summary.evaluation:
        typer.echo(
            f"Held-out text: {summary.evaluation.bits_per_byte:.3f} bits per byte "
            f"(text alone: {summary.unigram_entropy:.3f} by single bytes, {summary.bigram_entropy:.3f} by pairs)"
        )
    if summary.tokens_per_second:
        share = f"MFU {summary.mfu:.1%}" if summary.mfu else f"no MFU: {summary.no_mfu}"
        typer.echo(f"Median step: {summary.tokens_per_second:,.0f} tokens/s ({share})")
    typer.echo(f"Checkpoints: {folder}\nRecords: {log}")
    typer.echo(f'Sample: aios generate --checkpoint "{folder}" --prompt "The "')


@generate.command()
def run_generate(
    checkpoint: Annotated[
        Path, typer.Option(help="Output folder of a training run, one of its checkpoints, or a model folder.")
    ],
    prompt: Annotated[str, typer.Option(help="Text to go on from.")] = "",
    max_new_tokens: Annotated[int, typer.Option(min=1, help="Tokens to add, at most.")] = 200,
    temperature: Annotated[float, typer.Option(min=0, help="Randomness; 0 takes the likeliest token.")] = 0.8,
    top_k: Annotated[int, typer.Option(min=0, help="Choose among the k likeliest tokens; 0 among all.")] = 0,
    seed: Annotated[int, typer.Option(min=0, help="Same seed, same text.")] = 1234,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    attention_backend: Annotated[Backend, typer.Option(help="Attention backend.")] = "auto",
    amp: Annotated[
        bool, typer.Option("--amp", help="Compute in bfloat16 where the device has it, else in float16.")
    ] = False,
    strict: Strict = False,
    strict_capability: StrictCapability = False,
    capability_file: CapabilityFile = None,
) -> None:
    """Sample text from a checkpoint. Text goes to stdout, all else to stderr."""
    with told_errors():
        from trainer import capability
        from trainer.generate import load
        from trainer.models import generation
        from trainer.records.progress import Reporter

        say = Reporter().say
        proven = capability.load(capability_file, strict=strict_capability, say=say)
        model, tokenizer = load(checkpoint, device, attention_backend, proven, say, amp=amp, strict=strict)
        sampling = generation.Sampling(max_new_tokens, temperature, top_k, seed)
        decoder = tokenizer.decoder()
        sys.stdout.write(prompt)
        tokens = tokenizer.encode(prompt.encode("utf-8", "surrogateescape")).tolist()
        for token in generation.generate(model, tokens, sampling, tokenizer.end_id, tokenizer.vocab_size):
            sys.stdout.write(decoder.decode(token))
            sys.stdout.flush()
        sys.stdout.write(decoder.rest() + "\n")
