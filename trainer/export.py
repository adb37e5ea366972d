"""A checkpoint as a folder that others read: transformers a model, peft an adapter, and nothing of the training beside it."""

from __future__ import annotations

import copy
import shutil
from pathlib import Path
from typing import Any

import torch
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

from doctor.files import move
from trainer.attention.pattern import Windows, layer_windows, own_windows, trained_windows
from trainer.errors import RunError, UserError
from trainer.models import lora, model, tokenizer
from trainer.say import Say
from trainer.survival import checkpoint

# Models in which the type of a layer says where its window is and nothing else; in others it goes for positions, too.
ONLY_WINDOWS = ("gemma2", "qwen2", "qwen3", "smollm3")


def export(path: Path, output: Path, *, merge: bool, dtype: torch.dtype, say: Say) -> None:
    """Write the model or adapter of a checkpoint, with its tokenizer, to a folder that is not there yet.

    Args:
        path: output folder of a run, one of its checkpoints, or a model folder.
        merge: make one model of an adapter and its base.
        dtype: of a model's weights; an adapter's are float32.

    Raises:
        UserError: there is no whole checkpoint, nothing to merge, or something at `output` already.
        RunError: the folder cannot be written.
    """
    folder = checkpoint.find(path, say)
    if merge and not lora.is_adapter(folder):
        raise UserError(f"--merge: {folder.absolute()} holds a whole model, not an adapter. Leave it out.")
    if output.exists():
        raise UserError(f"{output.absolute()} is there already. Name a folder to be made (--output).")
    text = tokenizer.load(None, folder)
    partial = output.with_name(f"{output.name}.partial")
    try:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        if lora.is_adapter(folder) and not merge:
            for name in (lora.CONFIG, lora.WEIGHTS):
                shutil.copyfile(folder / name, partial / name)
            if (folder / lora.BASE).exists():
                shutil.copytree(folder / lora.BASE, partial / lora.BASE)
            lost = trained_windows(model.read_config(folder))
        else:
            lost = _write_model(folder, partial, dtype, say)
        text.save(partial)
        move(partial, output)
    except OSError as error:
        raise RunError(f"{output.absolute()} could not be written: {error}.") from error
    if any(lost):
        say(
            "WARNING: transformers knows no such windows for this kind of model: there it attends to all tokens, and was "
            "trained to see fewer. They stay where it attends as here: aios generate."
        )


def _write_model(folder: Path, output: Path, dtype: torch.dtype, say: Say) -> Windows:
    """Write a model as transformers does; gives the windows that it will not attend with there."""
    config = model.read_config(folder)
    network, notes = model.build_trained(config, folder)
    for note in notes:
        say(f"WARNING: {note}")
    if config.model_type in CONFIG_MAPPING._extra_content:
        say(
            f"WARNING: transformers alone knows no {config.model_type} models: a program that loads this one imports "
            f"{type(network).__module__} first."
        )
    exported: Any = network.to(dtype)
    said = with_own_windows(config)
    exported.config = said or config
    exported.save_pretrained(output)
    return () if said else trained_windows(config)


def with_own_windows(config: Any) -> Any | None:
    """A configuration that says in transformers' own words which windows a model was trained with here.

    None where it has no words for them: this kind of model has no windows there, or one for all layers.
    """
    windows = layer_windows(config)
    said = copy.deepcopy(config)
    text = said.get_text_config(decoder=True)
    text.aios_windows = None
    if windows == own_windows(config):
        return said
    kind: Any = type(config)
    if not hasattr(kind().get_text_config(decoder=True), "sliding_window"):
        return None
    text.sliding_window = max((window for window in windows if window), default=None)
    types = ["sliding_attention" if window else "full_attention" for window in windows]
    if getattr(text, "layer_types", types) not in (None, types):
        if text.model_type not in ONLY_WINDOWS:
            return None
        text.layer_types = types
    if hasattr(text, "use_sliding_window"):
        text.use_sliding_window = True
    return said if own_windows(kind.from_dict(said.to_dict())) == windows else None
