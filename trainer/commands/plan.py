"""`aios plan` and `aios fits`: the memory of a run, before anything is downloaded or loaded."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from doctor.visible import visible
from trainer import fetch
from trainer.commands.explanation import report_errors
from trainer.commands.options import canonical_spelling, with_config_options
from trainer.commands.output import echo
from trainer.config import TrainConfig, load, recommended
from trainer.errors import UserError
from trainer.models import hub
from trainer.planning.changes import CHUNKS, OFFLOAD

if TYPE_CHECKING:
    from trainer.planning.plan import LongestContext, Plan

SHARED = (
    "On Windows a program that needs more memory than the GPU has gets some of the host's (shared GPU memory). Such a "
    "run does not fail, but takes many times as long. To get an error instead: NVIDIA Control Panel > Manage 3D settings > "
    "CUDA - Sysmem Fallback Policy > Prefer No Sysmem Fallback."
)
PIPE_WIDTH = 200  # columns, when stdout is not a terminal
GIB = 2**30

Vram = Annotated[
    float | None,
    typer.Option(
        min=0.1, max=10_000, help="Memory of the GPU in GiB. Default: what this machine's device has free."
    ),
]
Measure = Annotated[
    bool,
    typer.Option("--measure", help="First measure two small steps on this device, and calibrate the plan."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, with bytes.")]

plan = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
fits = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@plan.command(context_settings={"token_normalize_func": canonical_spelling})
@with_config_options
def run_plan(
    overrides: dict[str, Any],
    config: Annotated[
        Path | None,
        typer.Option(help="YAML configuration file. The options below override its keys.", metavar="FILE"),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(help="Model folder, config.json, or Hugging Face id in the cache; the same as --name."),
    ] = None,
    vram: Vram = None,
    measure: Measure = False,
    as_json: AsJson = False,
) -> None:
    """Plan the memory of a training run, and how to need less of it.

    Only the model's configuration is read. Takes every option of aios train.
    """
    with report_errors():
        if model is not None:
            if overrides.get("name", model) != model:
                raise UserError(f"--model {model} and --name {overrides['name']} name different models.")
            overrides = {**overrides, "name": model}
        settings = load(config, overrides, needs_data=False)
        if measure and vram is not None:
            raise UserError(
                "--measure measures on this machine's device, but --vram describes another one. Remove one of the two."
            )
        _plan(settings, settings.model.name, vram, as_json, measure)


@fits.command()
def run_fits(
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="Model folder, config.json, or Hugging Face id.")
    ],
    vram: Vram = None,
    as_json: AsJson = False,
) -> None:
    """Check whether a model can be trained on a GPU, how, and on how long texts."""
    with report_errors():
        source = model if Path(model).exists() else str(fetch.configuration(model))
        _plan(load(None, {"name": source, "amp": True}, needs_data=False), model, vram, as_json)


def _plan(
    settings: TrainConfig, called: str | None, vram: float | None, as_json: bool, measure: bool = False
) -> None:
    if settings.model.name and not Path(settings.model.name).is_file():
        hub.local_copy(settings.model.name, "--model")  # before torch is imported
    from trainer.planning import planned_device
    from trainer.planning.calibration import calibrate
    from trainer.planning.plan import make_plan
    from trainer.planning.planned_attention import planned_attention
    from trainer.planning.planned_model import describe, model_config_of
    from trainer.planning.step import StepMemory

    device, name, size = planned_device.choose(settings.training.device, vram)
    settings, notes = recommended.resolve(settings, size)
    for note in notes:
        echo(f"INFO: {note}", err=True)
    model_config = model_config_of(settings)
    described = describe(called or "from scratch", model_config)
    step: Any = StepMemory(model_config, device)
    if measure:
        step = calibrate(settings, step)
        found = step.calibration
        echo(
            f"INFO: calibrated by two measured steps: {found.factor:.2f} times the tensors of a step, and "
            f"{found.fixed / 2**20:.0f} MiB",
            err=True,
        )
    attention = planned_attention(settings, model_config, device) if vram is None else None
    made = make_plan(settings, step, described, name, size, attention)
    if as_json:
        echo(json.dumps(made.to_json(), indent=2))
    else:
        _print(made)


def _print(made: Plan) -> None:
    model = made.model
    echo(
        f"{model['name']}: {model['type']}, {model['parameters']:,} parameters, {model['layers']} layers, "
        f"vocabulary {model['vocabulary']:,}"
    )
    echo(f"{made.device}: {made.size / GIB:.1f} GiB")
    echo(f"Attention: {made.attention.label}\n" if made.attention else "")
    console = Console(highlight=False, markup=False, width=None if sys.stdout.isatty() else PIPE_WIDTH)
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column("GiB per step", overflow="fold")
    for heading in (
        "weights",
        "gradients",
        "optimizer",
        "activations",
        "logits",
        "carry",
        "total",
        "fits",
        "host",
    ):
        table.add_column(heading, justify="right", no_wrap=True)
    for setting in made.settings:
        memory = setting.memory
        parts = (
            memory.weights,
            memory.gradients,
            memory.state,
            memory.activations,
            memory.logits,
            memory.carry,
        )
        table.add_row(
            f"+ {setting.changes[-1]}" if setting.changes else "as configured",
            *("?" if part is None else f"{part / GIB:.2f}" for part in (*parts, memory.total)),
            "yes" if setting.fits(made.size) else "no",
            f"{memory.host / GIB:.2f}" if memory.host else "",
        )
    console.print(table)
    if any(setting.memory.carry for setting in made.settings):
        echo("\ncarry: keys and values that chunks take over from earlier ones. host: in the host's memory.")
    echo("\nLongest context, one sequence at a time with gradient checkpointing:")
    for method, found in made.longest.items():
        if found.tokens == 0 and method.endswith((CHUNKS, OFFLOAD)):
            continue
        name = method.replace(CHUNKS, ", exact chunks").replace(OFFLOAD, ", layer inputs in host memory")
        echo(f"  {name:35} {_context(found)}")
    if made.shared:
        echo(f"\n{SHARED}")
    recommended = made.recommended
    if recommended is None:
        echo("\nNothing here fits. Choose a smaller model, or a shorter --max-length.")
    elif recommended.options:
        echo(f"\nTo fit: {visible(' '.join(recommended.options))}")
    else:
        echo("\nFits as configured.")


def _context(found: LongestContext) -> str:
    if found.tokens is None:
        return "unknown"
    if not found.tokens:
        return "does not fit"
    notes = ["all positions of the model"] if found.limited_by == "positions" else []
    if found.memory and found.memory.host:
        notes.append(f"with {found.memory.host / GIB:.1f} GiB of the host's memory")
    return f"{found.tokens:,} tokens" + (f" ({', '.join(notes)})" if notes else "")
