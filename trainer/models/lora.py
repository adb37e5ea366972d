"""LoRA: two small matrices that learn beside each frozen one, by way of peft. Hu et al. 2021, arXiv:2106.09685.

The layers of a model are replaced inside it, so that the model keeps its class: all that works on it, works on it still.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from transformers.pytorch_utils import Conv1D

from doctor.extras import how_to_add
from trainer.config import ModelSection
from trainer.errors import UserError

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
BASE = "base"  # folder for the base's config.json, windows and all: beside an adapter, transformers would look for weights
NAME = "default"  # of the adapter, in peft
PREFIX = "base_model.model."  # of the names in an adapter's file


def is_adapter(folder: Path) -> bool:
    """Whether a folder holds an adapter, as peft writes it, in place of a model's weights."""
    return (folder / CONFIG).exists()


def base_of(folder: Path) -> str:
    """The model that an adapter belongs to: a folder, or a Hugging Face id."""
    return str(json.loads((folder / CONFIG).read_text(encoding="utf-8"))["base_model_name_or_path"])


def add(network: Any, settings: ModelSection) -> None:
    """Freeze a model, and put a fresh adapter in. Before it has learned anything, it changes nothing.

    Raises:
        UserError: the model has no such layers.
    """
    assert settings.name is not None, "an adapter has a base"
    peft = _peft()
    folder = Path(settings.name)
    config = peft.LoraConfig(
        task_type="CAUSAL_LM",
        r=settings.lora_r,
        lora_alpha=settings.lora_alpha,
        lora_dropout=settings.lora_dropout,
        target_modules=[*settings.lora_target_modules] if settings.lora_target_modules else "all-linear",
        fan_in_fan_out=any(isinstance(module, Conv1D) for module in network.modules()),  # GPT-2's
    )
    _inject(network, config)
    config.base_model_name_or_path = folder.absolute().as_posix() if folder.is_dir() else settings.name


def load(network: Any, folder: Path) -> None:
    """Freeze a model, and put the adapter of a folder in.

    Raises:
        UserError: it belongs to another model.
    """
    config = _peft().PeftConfig.from_pretrained(str(folder))
    base = config.base_model_name_or_path
    _inject(network, config)
    config.base_model_name_or_path = base
    saved = load_file(folder / WEIGHTS)
    mine = {_saved_name(name): parameter for name, parameter in adapter(network).items()}
    if {name: tensor.shape for name, tensor in saved.items()} != {n: p.shape for n, p in mine.items()}:
        raise UserError(
            f"The adapter in {folder.absolute()} does not fit its base model {base}: that has other layers now. "
            "Put the model that it was trained with in its place."
        )
    for name, parameter in mine.items():
        parameter.data.copy_(saved[name])


def merge(network: Any) -> None:
    """Add what the adapter has learned to the frozen weights, and take it out of the model."""
    from peft.tuners.tuners_utils import BaseTunerLayer

    for name, module in [*network.named_modules()]:
        if isinstance(module, BaseTunerLayer):
            module.merge()
            network.set_submodule(name, module.get_base_layer())
    del network.peft_config
    network._hf_peft_config_loaded = False


def adapter(network: Any) -> dict[str, torch.nn.Parameter]:
    """The parameters that learn."""
    return {name: parameter for name, parameter in network.named_parameters() if parameter.requires_grad}


def learned_state(network: Any) -> dict[str, Any]:
    """What a checkpoint has to hold of a model: its adapter where there is one, else all of it."""
    state: dict[str, Any] = network.state_dict(keep_vars=True)
    if not getattr(network, "_hf_peft_config_loaded", False):
        return state
    return {name: tensor for name, tensor in state.items() if tensor.requires_grad}


def _saved_name(name: str) -> str:
    return PREFIX + name.replace(f".{NAME}.", ".")


def _inject(network: Any, config: Any) -> None:
    try:
        network.add_adapter(config, NAME)
    except ValueError as error:
        kinds = sorted(
            {name.rpartition(".")[2] for name, module in network.named_modules() if _linear(module)}
        )
        raise UserError(
            f"model.lora_target_modules = {config.target_modules}: {str(error).splitlines()[0]} "
            f"This model has: {', '.join(kinds)}."
        ) from None
    for parameter in adapter(network).values():
        parameter.data = parameter.data.float()  # what learns is float32, whatever the frozen weights are


def _linear(module: Any) -> bool:
    return isinstance(module, (torch.nn.Linear, Conv1D))


def _peft() -> Any:
    try:
        import peft
    except ImportError as error:
        raise UserError(
            f"model.use_peft needs peft, which cannot be imported ({error}). To install it:\n  {how_to_add('train')}"
        ) from error
    return peft
