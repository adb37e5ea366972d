"""`aios hrm-hf train-actv1`: `aios train` for HRM ACT v1, with defaults, options and a result of its own."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from trainer.commands.explanation import report_errors
from trainer.commands.options import canonical_spelling, with_config_options
from trainer.commands.training import (
    CapabilityFile,
    Force,
    Processes,
    Strict,
    StrictCapability,
    train_and_report,
)
from trainer.config import load
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
NOT_YET = (
    "{}: chunked training is not there yet. Sequences as long as --max-seq-len are trained whole; "
    "--gradient-checkpointing, --window-size and a smaller --batch-size save memory."
)
SIZES = "size of the model"

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, no_args_is_help=True)


@app.callback()
def hrm_hf() -> None:
    """Hierarchical reasoning models."""


def _size(help_text: str, default: object) -> Any:
    return typer.Option(help=help_text, show_default=str(default), rich_help_panel=SIZES)


@dataclass(frozen=True)
class Beginning:
    """Where a run begins: overrides of the configuration, and what there is to say about it."""

    overrides: dict[str, Any]
    notes: tuple[str, ...] = ()


def train_actv1(
    overrides: dict[str, Any],
    model: Annotated[
        str | None,
        typer.Option(
            help="Tokenizer and starting point: a local folder, or a Hugging Face id whose files are in the cache. Of an "
            "HRM ACT v1 model its weights, too; of any other the tokenizer. Or the JSON file of a configuration.",
        ),
    ] = None,
    bundle_dir: Annotated[Path, typer.Option(help="Folder for the brain.")] = Path("artifacts/brains/actv1"),
    brain_name: Annotated[
        str | None, typer.Option(help="Folder below it, for several brains.", show_default=False)
    ] = None,
    h_layers: Annotated[int | None, _size("Layers of the slow module H.", 2)] = None,
    l_layers: Annotated[int | None, _size("Layers of the quick module L.", 2)] = None,
    hidden_size: Annotated[int | None, _size("Width of the states.", 512)] = None,
    expansion: Annotated[float | None, _size("Width of feed-forward networks, in hidden sizes.", 2.0)] = None,
    num_heads: Annotated[int | None, _size("Attention heads.", 8)] = None,
    h_cycles: Annotated[int | None, _size("Times that H runs in a segment.", 2)] = None,
    l_cycles: Annotated[int | None, _size("Times that L runs before H does.", 2)] = None,
    pos_encodings: Annotated[str | None, _size("rope or learned.", "rope")] = None,
    halt_max_steps: Annotated[int | None, _size("Segments that a token may think for, at most.", 2)] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on from the newest whole checkpoint of the last run.")
    ] = False,
    ddp: Annotated[
        bool,
        typer.Option("--ddp", help="A process on each GPU of this machine; --processes sets another number."),
    ] = False,
    processes: Processes = None,
    use_8bit_optimizer: Annotated[
        bool, typer.Option("--use-8bit-optimizer", help="Short for --optimizer adamw_8bit.")
    ] = False,
    use_chunked_training: Annotated[
        bool, typer.Option("--use-chunked-training", help="Not there yet: read long sequences in chunks.")
    ] = False,
    chunk_size: Annotated[
        int | None,
        typer.Option(
            help="Tokens in such a chunk. Not --dataset-chunk-size, which is samples in memory at a time.",
            show_default="2048",
        ),
    ] = None,
    cpu_offload: Annotated[
        bool,
        typer.Option("--cpu-offload", help="Not there yet: keep what chunks carry in the host's memory."),
    ] = False,
    strict: Strict = False,
    strict_capability: StrictCapability = False,
    capability_file: CapabilityFile = None,
    force: Force = False,
) -> None:
    """Train HRM ACT v1, a hierarchical reasoning model with adaptive computation time, as a language model.

    What `aios train` can do, this can, too: every key of its configuration is an option here.
    """
    with report_errors():
        for wanted, name in (
            (use_chunked_training, "--use-chunked-training"),
            (cpu_offload, "--cpu-offload"),
        ):
            if wanted:
                raise UserError(NOT_YET.format(name))
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
        given = DEFAULTS | overrides
        if use_8bit_optimizer:
            given["optimizer"] = "adamw_8bit"
        sizes = {name: value for name, value in sizes.items() if value is not None}
        if sizes.get("pos_encodings") == "learned":
            sizes["max_position_embeddings"] = int(given["max_length"])
        begin = beginning(model, given.get("tokenizer"), sizes)
        notes = [*begin.notes]
        if chunk_size is not None:
            notes.append("--chunk-size does nothing without --use-chunked-training.")
        if ddp and processes is None and not launch.world_size():
            processes, note = _gpus()
            notes += note
        brain = bundle_dir / brain_name if brain_name else bundle_dir
        if "output_dir" not in given:
            given["output_dir"] = folder_of_run(brain, resume)
            if launch.processes_to_launch(processes):  # they are told the same as this process
                sys.argv += ["--save-dir", str(given["output_dir"])]
        settings = load(None, given | begin.overrides)

        def bundle(summary: Summary) -> None:
            from trainer.commands.hrm_bundle import write
            from trainer.survival.checkpoint import find

            if summary.position.step:  # else it was stopped before there was a checkpoint
                write(brain, find(settings.output.output_dir, typer.echo), settings, summary)
                typer.echo(f"Brain: {brain}")

        told = {
            "resume": resume,
            "strict": strict,
            "strict_capability": strict_capability,
            "capability_file": capability_file,
            "force": force,
            "notes": tuple(notes),
        }
        status = train_and_report(settings, processes, told, bundle)
    raise typer.Exit(status)


def beginning(model: str | None, tokenizer: str | None, sizes: dict[str, Any]) -> Beginning:
    """What --model, --tokenizer and the sizes mean together.

    Raises:
        UserError: what they name is not there, or they contradict each other.
    """
    scratch = {"model_type": MODEL_TYPE, **sizes}
    if model is None:
        if tokenizer is None:
            raise UserError(
                "Nothing to begin with: name a tokenizer or a model by --model (a local folder or a Hugging Face id), or a "
                "tokenizer alone by --tokenizer; --tokenizer byte needs no files."
            )
        return Beginning({"architecture": scratch})
    if Path(model).is_file():
        return Beginning({"architecture": {**_read(Path(model)), **sizes}})
    try:
        folder = hub.local_copy(model, "--model")
    except UserError as error:
        raise UserError(f"{error}\nOr begin without it: --tokenizer byte in place of --model.") from None
    found = _read(folder / "config.json") if (folder / "config.json").is_file() else {}
    if found.get("model_type") != MODEL_TYPE:
        note = f"--model {model}: its tokenizer is used, not its weights. HRM ACT v1 starts from scratch."
        return Beginning({"architecture": scratch, "tokenizer": tokenizer or model}, (note,))
    names = {"num_heads": "num_attention_heads"}
    for name, value in sizes.items():
        has = found.get(names.get(name, name))
        if has != value:
            raise UserError(
                f"--{name.replace('_', '-')} {value}: the model in {folder} has {has}. Leave the option out, or --model."
            )
    return Beginning({"name": str(folder)})


def folder_of_run(brain: Path, resume: bool) -> Path:
    """Where a run has its checkpoints and records: with the last one where it is to be resumed, else in a new folder.

    Raises:
        UserError: several processes would each choose one.
    """
    if launch.world_size():
        raise UserError("Several processes need one folder: name it by --save-dir.")
    numbers = [int(path.name) for path in (brain / "runs").glob("*") if path.name.isdecimal()]
    last = max(numbers, default=0)
    return brain / "runs" / f"{last if resume and last else last + 1:03}"


def _gpus() -> tuple[int, list[str]]:
    import torch

    count = torch.cuda.device_count()
    return max(1, count), [] if count > 1 else [f"--ddp: there are {count} GPUs, so there is one process."]


def _read(file: Path) -> dict[str, Any]:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{file.absolute()} holds no model configuration that can be read: {error}") from None
    if not isinstance(content, dict):
        raise UserError(f"{file.absolute()} holds no model configuration, but a {type(content).__name__}.")
    return content


app.command("train-actv1", context_settings={"token_normalize_func": canonical_spelling})(
    with_config_options(train_actv1, without=("name", "architecture"), defaults=DEFAULTS, names=NAMES)
)
