"""Export a checkpoint to a folder that transformers (a model) or peft (an adapter) reads, without the training state."""

from __future__ import annotations

import copy
import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

from doctor.files import replacing
from trainer.attention.pattern import Windows, layer_windows, own_windows, trained_windows
from trainer.errors import RunError, UserError
from trainer.model_card import CARD, card
from trainer.models import lora, model, tokenizer
from trainer.say import Say
from trainer.survival import checkpoint

# Models in which a layer's type determines only its window. In others it also determines the position encoding.
LAYER_TYPE_IS_WINDOW = ("gemma2", "qwen2", "qwen3", "smollm3")


def export(path: Path, output: Path, *, merge: bool, dtype: torch.dtype, say: Say) -> None:
    """Write the model or adapter of a checkpoint, with its tokenizer, to a new folder.

    Args:
        path: output folder of a run, one of its checkpoints, or a model folder.
        merge: merge an adapter into its base model.
        dtype: of a model's weights; those of an adapter are float32.

    Raises:
        UserError: there is no complete checkpoint, nothing to merge, or `output` already exists.
        RunError: the folder cannot be written.
    """
    folder = checkpoint.find(path, say)
    if merge and not lora.is_adapter(folder):
        raise UserError(
            f"--merge: {folder.absolute()} contains a model, not an adapter. Export it without --merge."
        )
    if output.exists():
        raise UserError(f"{output.absolute()} already exists. Choose a new folder (--output).")
    text = tokenizer.load(None, folder)
    try:
        with replacing(output) as new:
            new.mkdir()
            if lora.is_adapter(folder) and not merge:
                for file in (folder / lora.CONFIG, *folder.glob("adapter_model.*")):
                    shutil.copyfile(file, new / file.name)
                if (folder / lora.BASE).exists():
                    shutil.copytree(folder / lora.BASE, new / lora.BASE)
                lost_windows = trained_windows(model.read_config(folder))
            else:
                lost_windows = _write_model(folder, new, dtype, say)
            text.save(new)
            if about := card(folder, output.name, adapter=lora.is_adapter(new)):
                (new / CARD).write_text(about, encoding="utf-8", newline="\n")
    except (OSError, SafetensorError) as error:
        raise RunError(f"{output.absolute()} could not be written: {error}.") from error
    if any(lost_windows):
        say(
            "WARNING: transformers has no such sliding window for this model and will attend to all tokens, unlike in "
            "training. aios generate keeps the window."
        )


def _write_model(folder: Path, output: Path, dtype: torch.dtype, say: Say) -> Windows:
    """Write a model as transformers does. Returns the windows that transformers will not apply."""
    config = model.read_config(folder)
    network, notes = model.build_trained(config, folder)
    for note in notes:
        say(f"WARNING: {note}")
    if config.model_type in CONFIG_MAPPING._extra_content:
        say(
            f"WARNING: transformers itself has no {config.model_type} models. A program that loads this one must import "
            f"{type(network).__module__} first."
        )
    exported: Any = network.to(dtype)
    converted = with_own_windows(config)
    exported.config = converted or config
    exported.save_pretrained(output)
    return () if converted else trained_windows(config)


def with_own_windows(config: Any) -> Any | None:
    """The configuration with the windows of training in transformers' own settings.

    None if transformers cannot express them: it has no window for this kind of model, or only one for all layers.
    """
    windows = layer_windows(config)
    converted = copy.deepcopy(config)
    text = converted.get_text_config(decoder=True)
    text.aios_windows = None
    if windows == own_windows(config):
        return converted
    kind: Any = type(config)
    if not hasattr(kind().get_text_config(decoder=True), "sliding_window"):
        return None
    text.sliding_window = max((window for window in windows if window), default=None)
    types = ["sliding_attention" if window else "full_attention" for window in windows]
    if getattr(text, "layer_types", types) not in (None, types):
        if text.model_type not in LAYER_TYPE_IS_WINDOW:
            return None
        text.layer_types = types
    if hasattr(text, "use_sliding_window"):
        text.use_sliding_window = True
    return converted if own_windows(kind.from_dict(converted.to_dict())) == windows else None
