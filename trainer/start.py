"""What a training run begins with: a checkpoint, a model's folder, or a configuration from scratch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainer.config import TrainConfig
from trainer.errors import UserError
from trainer.models import hub, lora, model, tokenizer
from trainer.models.tokenizer import Tokenizer
from trainer.records.progress import Reporter
from trainer.survival.checkpoint import CheckpointFolder, read_state

# A checkpoint brings these itself: another value could not be honoured when resuming.
LORA = ("use_peft", "lora_r", "lora_alpha", "lora_dropout", "lora_target_modules")
FIXED_BY_CHECKPOINT = ("name", "architecture", "tokenizer", "optimizer", *LORA)


@dataclass(frozen=True)
class Options:
    """What a run is told beside its configuration; see the help of `aios train`.

    Attributes:
        notes: what the command has to say about what it was told.
    """

    resume: bool = False
    strict: bool = False
    strict_capability: bool = False
    capability_file: Path | None = None
    force: bool = False
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Start:
    """What a run begins with.

    Attributes:
        weights: folder to load weights from; None for fresh ones.
        checkpoint: to resume from; None for a new run.
        notes: what there is to say about it.
    """

    tokenizer: Tokenizer
    model_config: Any
    weights: Path | None = None
    checkpoint: Path | None = None
    notes: tuple[str, ...] = ()


def find_start(
    config: TrainConfig, options: Options, checkpoints: CheckpointFolder, reporter: Reporter
) -> Start:
    """Where the configuration and the checkpoints that are there say to begin.

    Raises:
        UserError: they contradict each other, or name what is not there.
    """
    if checkpoints.exists() and not options.resume:
        raise UserError(
            f"{config.output.output_dir.absolute()} holds checkpoints of a run already. Go on with it by --resume, "
            "or name another folder with output.output_dir (--output-dir)."
        )
    if options.resume:
        checkpoint = checkpoints.newest(reporter.say)
        if checkpoint:
            reporter.say(f"INFO: resuming from {checkpoint}")
            notes = tuple(_changes(config, checkpoint))
            text = tokenizer.load(None, checkpoint)
            weights = model.weights_of(checkpoint)
            return Start(text, model.read_config(checkpoint), weights, checkpoint, notes)
        if checkpoints.exists():
            raise UserError(
                f"Every checkpoint in {checkpoints.folder.absolute()} is damaged: there is nothing to resume from. "
                "Name another folder with output.output_dir (--output-dir) to begin again."
            )
        reporter.say(f"INFO: no checkpoint in {checkpoints.folder} yet: starting from the beginning")
    if config.model.name is None:
        text = tokenizer.load(config.model.tokenizer, None)
        return Start(text, model.make_config(config.model.architecture or {}, text))
    folder = hub.local_copy(config.model.name, "model.name (--name)")
    text = tokenizer.load(config.model.tokenizer, folder)
    if lora.is_adapter(folder):
        raise UserError(
            f"model.name (--name): {folder} holds an adapter, not a model. Make a model of it first: "
            f'aios export --merge --checkpoint "{folder}" --output FOLDER'
        )
    if model.has_weights(folder):
        return Start(text, model.read_config(folder), folder)
    if config.model.use_peft:
        raise UserError(f"model.use_peft freezes a trained model, and {folder.absolute()} holds no weights.")
    return Start(
        text, model.read_config(folder), notes=(f"{folder} holds no weights: training from scratch.",)
    )


def _changes(config: TrainConfig, checkpoint: Path) -> Iterator[str]:
    """What differs from the configuration that the checkpoint was made with."""
    before = read_state(checkpoint)["config"]
    now = config.model_dump(mode="json", by_alias=False)
    for section in ("model", "data", "training"):
        for key, value in now[section].items():
            default = type(getattr(config, section)).model_fields[key].default
            old = before[section].get(key, default)  # a checkpoint may be older than the key
            if value == old:
                continue
            if key in FIXED_BY_CHECKPOINT:
                raise UserError(
                    f"--resume: {section}.{key} is not what {checkpoint} was trained with, and a resumed run keeps its "
                    "model and optimizer. Take the setting back, or start a new run with another output.output_dir "
                    "(--output-dir)."
                )
            yield f"resumed with {section}.{key} = {value!r}, before it was {old!r}."
