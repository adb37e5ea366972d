"""Making the model of a run: from a folder with weights, or from scratch by its configuration."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Any

import torch
from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM
from transformers.models.auto.configuration_auto import CONFIG_MAPPING
from transformers.utils import logging

from doctor.capability import Capability
from trainer.attention import huggingface, pattern
from trainer.attention.choice import Decision, decide
from trainer.attention.request import AttentionRequest
from trainer.config import ModelSection
from trainer.device import Precision, return_freed_memory
from trainer.errors import UserError
from trainer.hrm import model as _  # noqa: F401 - transformers knows it from here on
from trainer.models import activations, hub, lora
from trainer.models.tokenizer import Tokenizer
from trainer.say import Say

logging.set_verbosity_error()  # type: ignore[no-untyped-call]
logging.disable_progress_bar()  # type: ignore[no-untyped-call]

CausalLM: Any = AutoModelForCausalLM
WEIGHTS = ("model*.safetensors", "pytorch_model*.bin")


def has_weights(folder: Path) -> bool:
    return any(any(folder.glob(pattern)) for pattern in WEIGHTS)


def read_config(folder: Path) -> Any:
    """The configuration of the model in a folder, or of the base of the adapter there.

    Raises:
        UserError: the folder holds none that transformers knows.
    """
    kept = folder / lora.BASE
    source = kept if lora.is_adapter(folder) and kept.exists() else weights_of(folder)
    try:
        return AutoConfig.from_pretrained(source, local_files_only=True)
    except (OSError, ValueError, KeyError, StrictDataclassError) as error:
        raise UserError(
            f"{folder} holds no model configuration that can be read: {_first_line(error)}"
        ) from error


def make_config(architecture: dict[str, Any], tokenizer: Tokenizer) -> Any:
    """The transformers configuration of an inline one; vocabulary and special tokens follow the tokenizer.

    Raises:
        UserError: an unknown model type or key, or a value that the model type does not take.
    """
    values = dict(architecture)
    model_type = values.pop("model_type", None)
    if model_type not in CONFIG_MAPPING:
        near = difflib.get_close_matches(str(model_type), CONFIG_MAPPING.keys(), n=3)
        raise UserError(
            f"model.architecture.model_type = {model_type!r} is no model type of transformers. "
            f"{'Near it: ' + ', '.join(near) if near else 'For example: gpt2, llama, mistral, qwen3'}."
        )
    # transformers takes any key without a word; one that the model type does not have would be lost.
    known = CONFIG_MAPPING[model_type]()
    for key in values:
        if not hasattr(known, key):
            near = difflib.get_close_matches(
                key, [name for name in vars(known) if not name.startswith("_")], n=3
            )
            raise UserError(
                f"model.architecture.{key}: {model_type} has no such key{'. Near it: ' + ', '.join(near) if near else ''}."
            )
    special = {
        "bos_token_id": tokenizer.end_id,
        "eos_token_id": tokenizer.end_id,
        "pad_token_id": tokenizer.pad_id,
    }
    try:
        return AutoConfig.for_model(model_type, **{"vocab_size": tokenizer.vocab_size, **special, **values})
    except (ValueError, TypeError, StrictDataclassError) as error:
        raise UserError(f"model.architecture: {model_type} does not take these values: {error}") from error


def check(config: Any, tokenizer: Tokenizer, max_length: int) -> None:
    """Refuse what would only fail, or be lost, later.

    Raises:
        UserError: the vocabulary or the positions of the model are too few.
    """
    text = config.get_text_config()
    if text.vocab_size < tokenizer.vocab_size:
        raise UserError(
            f"The tokenizer has {tokenizer.vocab_size} tokens and the model's vocabulary is {text.vocab_size}. "
            "Choose the tokenizer that belongs to the model (leave model.tokenizer out), or a larger vocab_size."
        )
    positions = getattr(text, "max_position_embeddings", None)
    if positions is not None and max_length > positions:
        raise UserError(
            f"data.max_length = {max_length}: the model has {positions} positions. "
            f"Set data.max_length (--max-length) to {positions} or less."
        )


def requested_windows(settings: ModelSection, config: Any) -> pattern.Windows:
    """The window that the settings ask for in each layer; where they ask for none, what the model was trained with.

    Raises:
        UserError: the pattern makes no sense for this model.
    """
    if settings.window_size is None and settings.window_pattern is None:
        return pattern.trained_windows(config)
    layers = config.get_text_config().num_hidden_layers
    try:
        return pattern.repeat(
            layers,
            settings.window_size,
            settings.window_pattern or pattern.SLIDING,
            settings.full_layers or (),
        )
    except ValueError as error:
        raise UserError(f"model.window_pattern, model.full_layers: {error}.") from None


def attention_request(
    config: Any,
    device: torch.device,
    precision: Precision,
    windows: pattern.Windows,
    packed: bool,
    training: bool,
) -> AttentionRequest:
    """What this model will ask of an attention backend, with these windows beside its own."""
    text = config.get_text_config()
    heads = text.num_attention_heads
    dropout = getattr(text, "attn_pdrop", getattr(text, "attention_dropout", 0.0))
    return AttentionRequest(
        device=str(device),
        dtype=precision.name,
        head_dim=getattr(text, "head_dim", None) or text.hidden_size // heads,
        query_heads=heads,
        key_heads=getattr(text, "num_key_value_heads", None) or heads,
        window=pattern.smallest(*windows, *pattern.own_windows(config)),
        packed=packed,
        dropout=dropout if training else 0.0,
        softcap=bool(getattr(text, "attn_logit_softcapping", None)),
        training=training,
    )


def attach_attention(
    config: Any,
    request: AttentionRequest,
    windows: pattern.Windows,
    *,
    backend: str,
    proven: Capability | None,
    strict: bool,
    say: Say,
) -> Decision:
    """Have models of this configuration run on the first backend that was proven here and serves the request, and say which.

    Args:
        backend: the one to begin with, or auto.
        strict: let no other stand in for the one that was named.

    Raises:
        UserError: strict, and another would have to; or the model attends in a way that no backend serves.
    """
    decision = decide(backend, request, proven)
    for line in decision.log_lines():
        say(line)
    if strict and decision.fell_back:
        raise UserError(
            f"--strict: {decision.requested} was asked for and cannot be had (the reasons are above)."
        )
    try:
        huggingface.attach(config, backend=decision.backend, window=windows)
    except ValueError as error:
        raise UserError(f"This model cannot be used: {error}. Choose one of another architecture.") from None
    return decision


def weights_of(folder: Path) -> Path:
    """The folder that holds the weights of a checkpoint or model: itself, or the base of an adapter.

    Raises:
        UserError: the base is not there.
    """
    if not lora.is_adapter(folder):
        return folder
    return hub.local_copy(lora.base_of(folder), f"The base model of the adapter in {folder.absolute()}")


def build_trained(config: Any, folder: Path) -> tuple[nn.Module, list[str]]:
    """The model of a checkpoint or model folder, an adapter merged into it; as `build`."""
    network, notes = build(config, weights_of(folder), seed=0)
    if lora.is_adapter(folder):
        lora.load(network, folder)
        lora.merge(network)
    return network, notes


def build(
    config: Any, weights: Path | None, seed: int, dtype: torch.dtype = torch.float32
) -> tuple[nn.Module, list[str]]:
    """The model on the CPU, and what there is to say about its weights.

    Args:
        config: of transformers, with the attention backend attached.
        weights: folder to load weights from; None for fresh ones.
        seed: of fresh weights.
        dtype: of all of them.

    Raises:
        UserError: the configuration makes no causal language model, or the weights cannot be loaded.
    """
    torch.manual_seed(seed)
    try:
        if weights is None:
            model = CausalLM.from_config(config, dtype=dtype)
            activations.fuse(model)
            return model, []
        model, loading = CausalLM.from_pretrained(
            weights, config=config, dtype=dtype, local_files_only=True, output_loading_info=True
        )
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        source = f"weights in {weights}" if weights else "architecture"
        raise UserError(
            f"No causal language model could be made of the {source}: {_first_line(error)}"
        ) from error
    for tensor in (*model.parameters(), *model.buffers()):
        tensor.data = tensor.data.clone()  # out of the mapped file, which Windows could not replace meanwhile
    activations.fuse(model)
    fresh = sorted(loading["missing_keys"])
    return model, [f"{weights} holds no weights for {', '.join(fresh)}: these start fresh."] if fresh else []


def checkpoint_activations(network: Any) -> None:
    """Let the backward pass compute activations again, rather than keep them, and the system have what that frees.

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
            f"model.gradient_checkpointing: {error} Leave it out (--no-gradient-checkpointing)."
        ) from error


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n")[0]
