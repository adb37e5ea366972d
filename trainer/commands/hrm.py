"""`aios hrm-hf train-actv1`: `aios train` for HRM ACT v1, with its own defaults, options and result."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from doctor.bounded import read_json
from trainer.commands.explanation import report_errors
from trainer.commands.options import canonical_spelling, with_config_options, with_default
from trainer.commands.output import echo
from trainer.commands.training import (
    CapabilityFile,
    DryRun,
    Force,
    Processes,
    Strict,
    StrictCapability,
    train_and_report,
)
from trainer.config import TrainConfig, load
from trainer.distributed import launch
from trainer.errors import UserError
from trainer.models import hub

if TYPE_CHECKING:
    from trainer.run import Summary

MODEL_TYPE = "hrm_act_v1"
DEFAULTS: dict[str, Any] = {
    "max_length": 128,
    "batch_size": 8,
    "steps": 200,
    "learning_rate": 2e-4,
    "eval_batches": 10,
}
NAMES = {
    "max_length": "max_seq_len",
    "output_dir": "save_dir",
    "use_flash_attention": "use_flash_attn",
    "learning_rate": "lr",
}
SIZES = "size of the model"

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, no_args_is_help=True)


@app.callback()
def hrm_hf() -> None:
    """Hierarchical reasoning models."""


def _size(help_text: str, default: object) -> Any:
    return typer.Option(help=with_default(help_text, default), rich_help_panel=SIZES)


@dataclass(frozen=True)
class StartingPoint:
    """Where a run starts: overrides of the configuration, and notes for the user."""

    overrides: dict[str, Any]
    notes: tuple[str, ...] = ()


def train_actv1(
    overrides: dict[str, Any],
    model: Annotated[
        str | None,
        typer.Option(
            help="Tokenizer and starting point: a local folder, or a Hugging Face id in the cache. The weights of an HRM "
            "ACT v1 model are used, too; of any other model only the tokenizer. Or a JSON file with a configuration.",
        ),
    ] = None,
    bundle_dir: Annotated[Path, typer.Option(help="Folder for the trained model and its runs.")] = Path(
        "artifacts/brains/actv1"
    ),
    brain_name: Annotated[
        str | None, typer.Option(help="Subfolder of it, to keep several models.", show_default=False)
    ] = None,
    h_layers: Annotated[int | None, _size("Layers of the slow module H.", 2)] = None,
    l_layers: Annotated[int | None, _size("Layers of the fast module L.", 2)] = None,
    hidden_size: Annotated[int | None, _size("Hidden size.", 512)] = None,
    expansion: Annotated[
        float | None, _size("Width of the feed-forward networks, in hidden sizes.", 2.0)
    ] = None,
    num_heads: Annotated[int | None, _size("Attention heads.", 8)] = None,
    h_cycles: Annotated[int | None, _size("Runs of H in a segment.", 2)] = None,
    l_cycles: Annotated[int | None, _size("Runs of L before each run of H.", 2)] = None,
    pos_encodings: Annotated[str | None, _size("rope or learned.", "rope")] = None,
    halt_max_steps: Annotated[int | None, _size("Largest number of segments for a token.", 2)] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Resume the last run from its newest complete checkpoint.")
    ] = False,
    ddp: Annotated[
        bool,
        typer.Option("--ddp", help="One process per GPU of this machine; --processes sets another number."),
    ] = False,
    processes: Processes = None,
    use_8bit_optimizer: Annotated[
        bool, typer.Option("--use-8bit-optimizer", help="Same as --optimizer adamw_8bit.")
    ] = False,
    strict: Strict = False,
    strict_capability: StrictCapability = False,
    capability_file: CapabilityFile = None,
    force: Force = False,
    dry_run: DryRun = False,
) -> None:
    """Train HRM ACT v1, a hierarchical reasoning model with adaptive computation time, as a language model.

    Every key of the configuration of `aios train` is an option here, too.
    """
    with report_errors():
        sizes = {
            "h_layers": h_layers,
            "l_layers": l_layers,
            "hidden_size": hidden_size,
            "expansion": expansion,
            "num_heads": num_heads,
            "h_cycles": h_cycles,
            "l_cycles": l_cycles,
            "pos_encodings": pos_encodings,
            "halt_max_steps": halt_max_steps,
        }
        if use_8bit_optimizer:
            overrides = {**overrides, "optimizer": "adamw_8bit"}
        processes, notes = _process_count(processes, ddp)
        bundle = bundle_dir / brain_name if brain_name else bundle_dir
        settings, model_notes = _configure(overrides, model, sizes, bundle, resume, processes)
        options = {
            "resume": resume,
            "strict": strict,
            "strict_capability": strict_capability,
            "capability_file": capability_file,
            "force": force,
            "dry_run": dry_run,
            "notes": (*model_notes, *notes),
        }
        status = train_and_report(settings, processes, options, partial(_write_bundle, bundle, settings))
    raise typer.Exit(status)


def _configure(
    overrides: dict[str, Any],
    model: str | None,
    sizes: dict[str, Any],
    bundle: Path,
    resume: bool,
    processes: int | None,
) -> tuple[TrainConfig, tuple[str, ...]]:
    """The configuration of the run, and notes about the model. Raises UserError if options are invalid."""
    given = DEFAULTS | overrides
    sizes = {name: value for name, value in sizes.items() if value is not None}
    if sizes.get("pos_encodings") == "learned":
        sizes["max_position_embeddings"] = int(given["max_length"])
    start = starting_point(model, given.get("tokenizer"), sizes)
    if "output_dir" not in given:
        given["output_dir"] = run_folder(bundle, resume)
        if launch.processes_to_launch(processes):  # they get the same command line
            sys.argv += ["--save-dir", str(given["output_dir"])]
    return load(None, given | start.overrides), start.notes


def _write_bundle(bundle: Path, settings: TrainConfig, summary: Summary) -> None:
    from trainer.commands.hrm_bundle import write
    from trainer.survival.checkpoint import find

    if summary.position.step == 0:
        return  # stopped before the first checkpoint
    write(bundle, find(settings.output.output_dir, echo), settings, summary)
    echo(f"Model: {bundle}")


def starting_point(model: str | None, tokenizer: str | None, sizes: dict[str, Any]) -> StartingPoint:
    """The start of a run by --model, --tokenizer and the sizes.

    Raises:
        UserError: a file or model was not found, or the options contradict each other.
    """
    from_scratch = {"model_type": MODEL_TYPE, **sizes}
    if model is None:
        if tokenizer is None:
            raise UserError(
                "No model and no tokenizer given. Name a model or tokenizer by --model (a local folder or a Hugging Face "
                "id), or only a tokenizer by --tokenizer; --tokenizer byte needs no files."
            )
        return StartingPoint({"architecture": from_scratch})
    if Path(model).is_file():
        return StartingPoint({"architecture": {**_read(Path(model)), **sizes}})
    try:
        folder = hub.local_copy(model, "--model")
    except UserError as error:
        raise UserError(f"{error}\nOr train without it: --tokenizer byte instead of --model.") from None
    config = _read(folder / "config.json") if (folder / "config.json").is_file() else {}
    if config.get("model_type") != MODEL_TYPE:
        note = f"--model {model}: its tokenizer is used, not its weights. HRM ACT v1 is trained from scratch."
        return StartingPoint({"architecture": from_scratch, "tokenizer": tokenizer or model}, (note,))
    _check_same_sizes(sizes, config, folder)
    return StartingPoint({"name": str(folder)})


def _check_same_sizes(sizes: dict[str, Any], config: dict[str, Any], folder: Path) -> None:
    """Raise UserError if a size differs from that of the model in a folder."""
    names = {"num_heads": "num_attention_heads"}
    for name, value in sizes.items():
        found = config.get(names.get(name, name))
        if found != value:
            raise UserError(
                f"--{name.replace('_', '-')} {value}: the model in {folder} has {found}. "
                "Remove either this option or --model."
            )


def run_folder(bundle: Path, resume: bool) -> Path:
    """The folder for checkpoints and records: that of the last run to resume it, otherwise a new one.

    Raises:
        UserError: started by torchrun, where each process would choose a folder of its own.
    """
    if launch.world_size():
        raise UserError("Several processes need the same folder. Name it by --save-dir.")
    numbers = [int(path.name) for path in (bundle / "runs").glob("*") if path.name.isdecimal()]
    last = max(numbers, default=0)
    return bundle / "runs" / f"{last if resume and last else last + 1:03}"


def _process_count(processes: int | None, ddp: bool) -> tuple[int | None, list[str]]:
    """The number of processes to start, and a note if --ddp makes no difference."""
    if not ddp or processes is not None or launch.world_size():
        return processes, []
    import torch

    count = torch.cuda.device_count()
    if count > 1:
        return count, []
    return 1, [f"--ddp has no effect: the number of GPUs here is {count}, so one process is used."]


def _read(file: Path) -> dict[str, Any]:
    try:
        content = read_json(file)
    except (OSError, ValueError) as error:
        raise UserError(f"{file.absolute()} has no model configuration that can be read: {error}") from None
    if not isinstance(content, dict):
        raise UserError(f"{file.absolute()} has no model configuration, but a {type(content).__name__}.")
    return content


app.command(
    "train-actv1",
    short_help="Train HRM ACT v1 as a language model.",
    context_settings={"token_normalize_func": canonical_spelling},
)(with_config_options(train_actv1, without=("name", "architecture"), defaults=DEFAULTS, names=NAMES))
