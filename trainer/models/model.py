"""The configuration and the network of a model: from a folder with weights, or from scratch."""

from __future__ import annotations

import difflib
import inspect
import re
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from huggingface_hub.errors import StrictDataclassError
from torch import nn
from transformers import MODEL_FOR_CAUSAL_LM_MAPPING, AutoConfig, AutoModelForCausalLM
from transformers.models.auto.configuration_auto import CONFIG_MAPPING
from transformers.utils import logging

from doctor.bounded import read_json
from trainer.attention.pattern import trained_windows
from trainer.device import return_freed_memory
from trainer.errors import UserError
from trainer.hrm import model as _  # noqa: F401 - registers the model type
from trainer.models import activations, hub, lora, quantization, quantized_values, rope, trial
from trainer.models.tokenizer import Tokenizer
from trainer.models.weights import load as load_weights

hub.silence_libraries()
logging.set_verbosity_error()  # type: ignore[no-untyped-call]
logging.disable_progress_bar()  # type: ignore[no-untyped-call]

CausalLM: Any = AutoModelForCausalLM
CONFIG, GENERATION_CONFIG = "config.json", "generation_config.json"


def read_config(folder: Path) -> Any:
    """The configuration of the model in a folder, or of the base model of the adapter in it.

    Raises:
        UserError: the folder has no configuration that transformers can read.
    """
    base = folder / lora.BASE
    source = base if lora.is_adapter(folder) and base.exists() else weights_folder(folder)
    hub.check_files([source / CONFIG, source / GENERATION_CONFIG])
    with suppress(OSError, ValueError):  # transformers explains what cannot be read
        trial.check_layers(read_json(source / CONFIG), str((source / CONFIG).absolute()))
    try:
        config = AutoConfig.from_pretrained(source, local_files_only=True, trust_remote_code=False)
    except Exception as error:  # the type depends on what the file contains
        if code := hub.own_code(source, CONFIG):
            raise UserError(
                f"{source.absolute()} contains a model that brings its own code ({code}). aios never runs code from a model "
                "folder, and transformers has no such model type. Use a model type that transformers has, or update "
                "transformers if a newer release has it."
            ) from error
        raise UserError(
            f"{folder} has no model configuration that can be read: {trial.first_line(error)}"
        ) from error
    trial.check_text_model(config)
    try:
        trained_windows(config)
    except ValueError as error:
        raise UserError(f"{(source / CONFIG).absolute()}: {error}.") from None
    return config


def make_config(architecture: dict[str, Any], tokenizer: Tokenizer) -> Any:
    """The transformers configuration for `model.architecture`; vocabulary and special tokens come from the tokenizer.

    Raises:
        UserError: an unknown model type or key, or a value that the model type does not accept.
    """
    values = dict(architecture)
    model_type = values.pop("model_type", None)
    if model_type not in CONFIG_MAPPING:
        similar = _similar(str(model_type), CONFIG_MAPPING) or " For example: gpt2, llama, mistral, qwen3."
        raise UserError(
            f"model.architecture.model_type = {model_type!r}: transformers has no such model type.{similar}"
        )
    # transformers accepts any key silently, so one that the model type does not have would have no effect.
    known = CONFIG_MAPPING[model_type]()
    for key in values:
        # In this order: asking a configuration for a key that differs by layer raises an error of its own (Gemma 4).
        if not _reads(type(known), key) and not hasattr(known, key):
            similar = _similar(key, [name for name in vars(known) if not name.startswith("_")])
            raise UserError(f"model.architecture.{key}: {model_type} has no such key.{similar}")
    trial.check_layers(values, "model.architecture")
    special = {
        "bos_token_id": tokenizer.prefix[0] if tokenizer.prefix else tokenizer.end_id,
        "eos_token_id": tokenizer.end_id,
        # transformers does not train the embedding of the padding token, so this must not be an ordinary token.
        "pad_token_id": tokenizer.padding_token,
    }
    try:
        return AutoConfig.for_model(model_type, **{"vocab_size": tokenizer.vocab_size, **special, **values})
    except (ValueError, TypeError, StrictDataclassError) as error:
        raise UserError(f"model.architecture: {model_type} does not accept these values: {error}") from error


def _reads(config: type[Any], key: str) -> bool:
    """Whether the code of a model type reads a key that its configuration does not list: some keys are optional."""
    model = MODEL_FOR_CAUSAL_LM_MAPPING.get(config, None)
    modules = filter(None, (inspect.getmodule(owner) for owner in (config, model) if owner))
    reads = re.compile(rf"""config\.{re.escape(key)}\b|["']{re.escape(key)}["']""")
    return any(reads.search(inspect.getsource(module)) for module in modules)


def _similar(name: str, known: Iterable[str]) -> str:
    similar = difflib.get_close_matches(name, known, n=3)
    return f" Did you mean {', '.join(similar)}?" if similar else ""


def check_length(config: Any, max_length: int) -> None:
    """Check that the model has enough positions for the length of the sequences.

    Raises:
        UserError: it has fewer.
    """
    positions = rope.max_length(config)
    if positions is not None and max_length > positions:
        raise UserError(
            f"data.max_length = {max_length}, but the model has {positions} positions. "
            f"Set data.max_length (--max-length) to {positions} or less."
        )


def weights_folder(folder: Path) -> Path:
    """The folder with the weights of a checkpoint or model: the folder itself, or that of an adapter's base model.

    Raises:
        UserError: the base model was not found.
    """
    if not lora.is_adapter(folder):
        return folder
    return hub.local_copy(lora.base_model_of(folder), f"The base model of the adapter in {folder.absolute()}")


def build_trained(
    config: Any, folder: Path, dtype: torch.dtype = torch.float32, merged: torch.dtype | None = None
) -> tuple[nn.Module, list[str]]:
    """The model of a checkpoint or model folder, with an adapter merged into it; returns as `build`.

    Args:
        dtype: of the weights.
        merged: of the weights that the adapter changes; None for `dtype`. The sums are computed in float32.
    """
    network, notes = build(config, weights_folder(folder), seed=0, dtype=dtype)
    bits = vars(config).pop("aios_weight_bits", None)  # these weights are not quantized
    if lora.is_adapter(folder):
        if bits:  # the adapter was trained beside quantized weights
            quantized_values.round_weights(network, bits)
        network = lora.load_merged(network, folder, merged or dtype)
    return network, notes


def build(
    config: Any, weights: Path | None, seed: int, dtype: torch.dtype = torch.float32
) -> tuple[nn.Module, list[str]]:
    """The model on the CPU, and notes about its weights.

    Args:
        config: a transformers configuration, with the attention backend attached.
        weights: folder to load weights from; None to initialize them.
        seed: of the initialization.
        dtype: of the weights.

    Raises:
        UserError: the configuration is not of a causal language model, or the weights cannot be loaded.
    """
    trial.check_quantization(config)
    torch.manual_seed(seed)
    if weights is None:
        with trial.build_errors(trial.ARCHITECTURE):
            model = CausalLM.from_config(config, dtype=dtype, trust_remote_code=False)
        activations.fuse(model)
        return model, []
    with trial.build_errors(f"weights in {weights}"):
        model, notes = load_weights(trial.dequantized(config), weights, dtype)
    _check_numbers(weights, model)
    _finish(model)
    return model, notes


def build_quantized(
    config: Any, weights: Path, seed: int, dtype: torch.dtype, bits: int, device: torch.device
) -> tuple[nn.Module, list[str]]:
    """The model on its device, with frozen weights that are quantized one by one while they are read; notes about them.

    Args:
        config, weights, seed: as in `build`.
        dtype: of the computation, and of the weights outside linear layers.
        bits: of the weights of linear layers.

    Raises:
        UserError: as in `build`.
    """
    trial.check_quantization(config)
    torch.manual_seed(seed)
    with trial.build_errors(f"weights in {weights}"):
        model, notes = load_weights(
            config,
            weights,
            dtype,
            quantization_config=quantization.settings(bits, dtype),
            device_map={"": device},
        )
    del model.config.quantization_config  # the weights in the folder are not quantized
    model.config.aios_weight_bits = bits
    quantization.keep_layout(model)
    model.requires_grad_(False)
    _finish(model)
    return model, notes


def _finish(model: Any) -> None:
    for tensor in (*model.parameters(), *model.buffers()):
        if tensor.device.type == "cpu":
            tensor.data = tensor.data.clone()  # Windows cannot replace a file while it is memory-mapped
    activations.fuse(model)


def _check_numbers(folder: Path, model: nn.Module) -> None:
    """Check that the weights are numbers that can be trained.

    Raises:
        UserError: they are quantized.
    """
    for name, parameter in model.named_parameters():
        if not parameter.is_floating_point() or parameter.element_size() == 1:
            raise UserError(
                f"The weights in {folder} are quantized ({name} is {parameter.dtype}), and cannot be trained. Use the model "
                "that it was made from, with weights in float32, bfloat16 or float16."
            )


def checkpoint_activations(network: Any) -> None:
    """Recompute activations in the backward pass instead of storing them, and return freed memory to the system.

    Raises:
        UserError: the model does not support it.
    """
    return_freed_memory()
    name = "activation_checkpointing"  # its name in older releases: gradient_checkpointing
    if not hasattr(network, f"{name}_enable"):
        name = "gradient_checkpointing"
    try:
        getattr(network, f"{name}_enable")(**{f"{name}_kwargs": {"use_reentrant": False}})
    except ValueError as error:
        raise UserError(
            f"model.gradient_checkpointing: {error} Turn it off (--no-gradient-checkpointing)."
        ) from error
