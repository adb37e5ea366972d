"""LoRA adapters, by peft: two small trainable matrices for each frozen one. Hu et al. 2021, arXiv:2106.09685.

Layers are replaced inside the model, so the model keeps its class and works everywhere it did before.
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
# Folder for the base model's config.json with its windows. Next to the adapter, transformers would expect weights with it.
BASE = "base"
NAME = "default"  # peft's name of the adapter
PREFIX = "base_model.model."  # prefix of the parameter names in an adapter's file


def is_adapter(folder: Path) -> bool:
    """Whether a folder contains an adapter of peft, not a model's weights."""
    return (folder / CONFIG).exists()


def base_model_of(folder: Path) -> str:
    """The base model of an adapter: a folder, or a Hugging Face id."""
    return str(json.loads((folder / CONFIG).read_text(encoding="utf-8"))["base_model_name_or_path"])


def add(network: Any, settings: ModelSection) -> None:
    """Freeze a model and add a new adapter, which changes nothing until it is trained.

    Raises:
        UserError: the model does not have the target layers.
    """
    assert settings.name is not None, "an adapter needs a base model"
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
    """Freeze a model and load the adapter from a folder into it.

    Raises:
        UserError: the adapter belongs to another model.
    """
    config = _peft().PeftConfig.from_pretrained(str(folder))
    base = config.base_model_name_or_path
    _inject(network, config)
    config.base_model_name_or_path = base
    saved = load_file(folder / WEIGHTS)
    parameters = {_saved_name(name): parameter for name, parameter in adapter_parameters(network).items()}
    if {name: tensor.shape for name, tensor in saved.items()} != {n: p.shape for n, p in parameters.items()}:
        raise UserError(
            f"The adapter in {folder.absolute()} does not fit its base model {base}, whose layers have changed. "
            "Restore the model that the adapter was trained with."
        )
    for name, parameter in parameters.items():
        parameter.data.copy_(saved[name])


def merge(network: Any) -> None:
    """Merge the adapter into the frozen weights and remove it from the model."""
    from peft.tuners.tuners_utils import BaseTunerLayer

    for name, module in [*network.named_modules()]:
        if isinstance(module, BaseTunerLayer):
            module.merge()
            network.set_submodule(name, module.get_base_layer())
    del network.peft_config
    network._hf_peft_config_loaded = False


def adapter_parameters(network: Any) -> dict[str, torch.nn.Parameter]:
    """The parameters of the adapter: those that are trained."""
    return {name: parameter for name, parameter in network.named_parameters() if parameter.requires_grad}


def trained_state(network: Any) -> dict[str, Any]:
    """The tensors of a model that a checkpoint stores: those of its adapter if it has one, otherwise all."""
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
    for parameter in adapter_parameters(network).values():
        parameter.data = parameter.data.float()  # trained in float32, even if the frozen weights are not


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
