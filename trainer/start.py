"""Where a training run starts: a checkpoint, a model folder, or an architecture to train from scratch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from doctor.quoting import for_this_system
from trainer.config import TrainConfig
from trainer.distributed.processes import ALONE, Processes
from trainer.early_checks import NAME_KEY, check_no_checkpoints
from trainer.errors import UserError
from trainer.models import hub, lora, model, tokenizer, vocabulary, weights
from trainer.models.tokenizer import Tokenizer
from trainer.say import Say
from trainer.survival.checkpoint import CheckpointFolder
from trainer.survival.saved_state import SavedState, read_state

# Keys that the checkpoint determines, so they cannot change when a run is resumed.
LORA = (
    *("use_peft", "lora_r", "lora_alpha", "lora_dropout", "lora_target_modules", "lora_modules_to_save"),
    *("lora_use_rslora", "lora_use_dora", "load_in_4bit", "load_in_8bit"),
)
FIXED_BY_CHECKPOINT = (
    "name",
    "from_scratch",
    "architecture",
    "tokenizer",
    "add_bos_token",
    "optimizer",
    *LORA,
)


@dataclass(frozen=True)
class Options:
    """Options of a run that are not part of its configuration; see `aios train --help`.

    Attributes:
        notes: warnings of the command, shown when the run starts.
    """

    resume: bool = False
    strict: bool = False
    strict_capability: bool = False
    capability_file: Path | None = None
    force: bool = False
    dry_run: bool = False
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Start:
    """What a run starts from.

    Attributes:
        weights: folder to load weights from; None for new ones.
        checkpoint: to resume from; None for a new run.
        saved: the checkpoint's state.
        notes: warnings about the choice.
    """

    tokenizer: Tokenizer
    model_config: Any
    weights: Path | None = None
    checkpoint: Path | None = None
    saved: SavedState | None = None
    notes: tuple[str, ...] = ()


def find_start(
    config: TrainConfig,
    options: Options,
    checkpoints: CheckpointFolder,
    say: Say,
    processes: Processes = ALONE,
) -> Start:
    """Return where the run starts, by its configuration and the checkpoints in its folder.

    Raises:
        UserError: these contradict each other, or the configured model does not exist.
    """
    _check_model(config)
    start = _find_start(config, options, checkpoints, say, processes)
    vocabulary.fit_padding(start.model_config, start.tokenizer)
    if prefix := start.tokenizer.prefix:
        say(
            f"INFO: every document and prompt begins with {start.tokenizer.names(prefix)}, as the tokenizer writes a text. "
            "--no-add-bos-token turns this off."
        )
    return start


def _find_start(
    config: TrainConfig, options: Options, checkpoints: CheckpointFolder, say: Say, processes: Processes
) -> Start:
    if not options.resume:
        check_no_checkpoints(config)
    if options.resume:
        checkpoint = checkpoints.newest(say, processes)
        if checkpoint:
            say(f"INFO: resuming from {checkpoint}")
            return _resume(config, checkpoint)
        if checkpoints.exists():
            raise UserError(
                f"All checkpoints in {checkpoints.folder.absolute()} are damaged, so the run cannot be resumed. To start "
                "over, name another folder with output.output_dir (--output-dir)."
            )
        say(f"INFO: no checkpoint in {checkpoints.folder} yet: starting from the beginning")
    if config.model.name is None:
        text = tokenizer.load(config.model.tokenizer, None, config.data.add_bos_token)
        return Start(tokenizer=text, model_config=model.make_config(config.model.architecture or {}, text))
    return _continue(config, config.model.name)


def _check_model(config: TrainConfig) -> None:
    """Check settings that exclude each other."""
    if not config.model.use_peft:
        return
    for key in ("from_scratch", "resize_token_embeddings"):
        if getattr(config.model, key):
            option = key.replace("_", "-")
            raise UserError(
                f"model.use_peft trains an adapter beside existing weights, so model.{key} cannot be used with it. Remove "
                f"one of the two (--no-use-peft, --no-{option})."
            )


def _resume(config: TrainConfig, checkpoint: Path) -> Start:
    saved = read_state(checkpoint)
    return Start(
        tokenizer=tokenizer.load(None, checkpoint),
        model_config=model.read_config(checkpoint),
        weights=model.weights_folder(checkpoint),
        checkpoint=checkpoint,
        saved=saved,
        notes=tuple(_changes(config, saved, checkpoint)),
    )


def _continue(config: TrainConfig, name: str) -> Start:
    """Start from a model folder: with its weights, or from scratch if that is configured."""
    folder = hub.local_copy(name, NAME_KEY)
    if lora.is_adapter(folder):
        raise UserError(
            f"{NAME_KEY}: {folder} contains an adapter, not a model. Merge it into a model first: "
            f"aios export --merge --checkpoint {for_this_system(str(folder))} --output FOLDER"
        )
    if not config.model.from_scratch:
        weights.check(folder, None if Path(name).is_dir() else name)
    model_config = model.read_config(folder)
    text = tokenizer.load(config.model.tokenizer, folder, config.data.add_bos_token)
    if config.model.from_scratch:
        note = f"model.from_scratch: the model of {folder} starts with new, random weights."
        return Start(tokenizer=text, model_config=model_config, notes=(note,))
    return Start(tokenizer=text, model_config=model_config, weights=folder)


def _changes(config: TrainConfig, saved: SavedState, checkpoint: Path) -> Iterator[str]:
    """Warnings about keys that changed since the checkpoint."""
    now = config.model_dump(mode="json", by_alias=False)
    for section in ("model", "data", "training"):
        for key, value in now[section].items():
            default = type(getattr(config, section)).model_fields[key].default
            before = saved.config[section].get(key, default)  # the checkpoint may be older than the key
            # steps are computed from the epochs, and more steps are what one resumes a complete run for
            if value == before or (key == "steps" and (config.training.epochs or value > before)):
                continue
            if key in FIXED_BY_CHECKPOINT:
                raise UserError(
                    f"--resume: {section}.{key} differs from the checkpoint {checkpoint}, and a resumed run keeps its model "
                    "and optimizer. Restore the old setting, or start a new run in another output.output_dir (--output-dir)."
                )
            yield f"{section}.{key} changed since the checkpoint: was {before!r}, now {value!r}."
