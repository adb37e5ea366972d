"""Export a checkpoint to a folder that transformers (a model) or peft (an adapter) reads, without the training state."""

from __future__ import annotations

import copy
import json
import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

from doctor.files import replacing
from trainer.attention.pattern import Windows, layer_windows, own_windows, trained_windows
from trainer.distributed import shard_files
from trainer.errors import RunError, UserError
from trainer.model_card import CARD, card
from trainer.models import lora, model, tokenizer, weights
from trainer.say import Say
from trainer.survival import checkpoint
from trainer.survival.sharded_checkpoint import write_configuration

CausalLM: Any = AutoModelForCausalLM
LARGEST_FILE = 4 << 30  # bytes of a file, for a checkpoint in parts: as much is in memory
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
    if (folder / shard_files.FOLDER).is_dir() and (outline := _outline(config)):
        return _write_parts(folder, output, outline, dtype, say)
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


def _outline(config: Any) -> Any | None:
    """The model without weights, if transformers saves them under the names that they have in it; otherwise None.

    A mixture of experts, for example, has one tensor for all experts in memory and one for each in a file.
    """
    try:
        from transformers.core_model_loading import revert_weight_conversion

        with torch.device("meta"):
            network = CausalLM.from_config(config, trust_remote_code=False)
        state = network.state_dict()
        return network if revert_weight_conversion(network, state).keys() == state.keys() else None
    # transformers cannot name the files' weights, or the model cannot be built without data: it is built whole
    except (ImportError, NotImplementedError, RuntimeError, ValueError):
        return None


def _write_parts(folder: Path, output: Path, outline: Any, dtype: torch.dtype, say: Say) -> Windows:
    """Write the model of a checkpoint in parts, one file at a time: no more than one is in memory."""
    config = outline.config
    names = _planned(outline, dtype)
    total = sum(len(file) for file in names)
    index: dict[str, str] = {}
    for number, wanted in enumerate(names, 1):
        tensors = {
            name: tensor.to(dtype) if tensor.is_floating_point() else tensor
            for name, tensor in weights.read_parts(folder, wanted).items()
        }
        if missing := [name for name in wanted if name not in tensors]:
            raise RunError(f"{folder.absolute()} does not hold the weight {missing[0]} of its model.")
        name = f"model-{number:05d}-of-{len(names):05d}.safetensors" if len(names) > 1 else weights.FILES[0]
        save_file(tensors, output / name, metadata={"format": "pt"})
        index |= dict.fromkeys(tensors, name)
        if len(names) > 1:
            say(f"INFO: {name}: {len(index):,} of {total:,} weights written")
    if len(names) > 1:
        size = sum(file.stat().st_size for file in output.glob("*.safetensors"))
        content = {"metadata": {"total_size": size}, "weight_map": index}
        (output / weights.FILES[1]).write_text(json.dumps(content, indent=2) + "\n", "utf-8", newline="\n")
    converted = with_own_windows(config)
    outline.config = converted or config
    write_configuration(outline, output, dtype)
    return () if converted else trained_windows(config)


def _planned(outline: Any, dtype: torch.dtype) -> list[list[str]]:
    """The names of the weights in each file. A tensor with several names has one."""
    tensors = {
        id(tensor): (name, tensor) for name, tensor in reversed(outline.state_dict(keep_vars=True).items())
    }
    planned: list[list[str]] = [[]]
    size = 0
    for name, tensor in reversed(tensors.values()):
        new = tensor.numel() * dtype.itemsize
        if size and size + new > LARGEST_FILE:
            planned.append([])
            size = 0
        planned[-1].append(name)
        size += new
    return planned


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
