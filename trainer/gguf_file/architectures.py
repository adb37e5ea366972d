"""The model types that llama.cpp can run, and what its implementation of each expects.

The facts are llama.cpp's: `src/models` and `conversion` of github.com/ggml-org/llama.cpp, as of llama-cpp-python 0.3.36.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from trainer.attention.pattern import layer_windows
from trainer.errors import UserError

Metadata = dict[str, Any]
NO_SOFTCAP = 1e5  # c * tanh(x / c) is x in float32 for any logit x, if c is this large


@dataclass(frozen=True)
class Architecture:
    """How llama.cpp implements a model type.

    Attributes:
        name: llama.cpp's name of it.
        activation: of the feed-forward layers.
        interleaved: whether rotary pairs are neighbouring rows of the query and key projections, as in Meta's Llama; in
            transformers, the second elements follow all first ones.
        norm_offset: added to the weights of norms, where transformers multiplies by 1 + weight.
        window_period: of each so many layers, all but the last have the window; 0 if llama.cpp has none.
        always_tied: whether the output layer is always the embedding.
        scale_by_heads: number of layers of the model size whose attention is scaled by hidden size / heads instead of the head
            dimension.
    """

    name: str
    activation: str = "silu"
    interleaved: bool = False
    norm_offset: float = 0.0
    window_period: int = 0
    always_tied: bool = False
    scale_by_heads: int = 0


_GELU = "gelu_pytorch_tanh"
_LLAMA = Architecture("llama", interleaved=True)
ARCHITECTURES: Mapping[str, Architecture] = {
    "llama": _LLAMA,
    "mistral": _LLAMA,
    "qwen2": Architecture("qwen2"),
    "qwen3": Architecture("qwen3"),
    "gemma2": Architecture("gemma2", _GELU, False, 1.0, window_period=2, always_tied=True, scale_by_heads=46),
    "gemma3_text": Architecture("gemma3", _GELU, False, 1.0, window_period=6, scale_by_heads=62),
    "phi3": Architecture("phi3"),
}


def architecture(config: Any) -> Architecture:
    """llama.cpp's architecture for a transformers configuration.

    Raises:
        UserError: llama.cpp computes something else for this configuration, or aios does not know this model type's files.
    """
    found = ARCHITECTURES.get(config.model_type)
    if found is None:
        raise UserError(
            f"--gguf: aios writes GGUF files of {', '.join(ARCHITECTURES)}, and this model is of the type "
            f"{config.model_type}. Export it without --gguf, and convert it with llama.cpp's convert_hf_to_gguf.py."
        )
    activation = getattr(config, "hidden_activation", None) or config.hidden_act
    _require("hidden_act", activation, found.activation)
    if found.always_tied:
        _require("tie_word_embeddings", config.tie_word_embeddings, True)
    if (scale := getattr(config, "query_pre_attn_scalar", None)) is not None:
        by_heads = config.num_hidden_layers == found.scale_by_heads
        _require(
            "query_pre_attn_scalar",
            float(scale),
            config.hidden_size / config.num_attention_heads if by_heads else float(config.head_dim),
        )
    return found


def _require(key: str, found: object, expected: object) -> None:
    if found != expected:
        raise UserError(
            f"--gguf: the model's configuration has {key} = {found}, and llama.cpp computes with {expected}."
        )


def head_dim(config: Any) -> int:
    """The number of features of an attention head."""
    return int(getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads)


def sizes(config: Any) -> Metadata:
    """The sizes of a model, without llama.cpp's prefix of the keys."""
    width = head_dim(config)
    found: Metadata = {
        "vocab_size": int(config.vocab_size),
        "context_length": int(config.max_position_embeddings),
        "embedding_length": int(config.hidden_size),
        "block_count": int(config.num_hidden_layers),
        "feed_forward_length": int(config.intermediate_size),
        "attention.head_count": int(config.num_attention_heads),
        "attention.head_count_kv": int(config.num_key_value_heads),
        "attention.key_length": width,
        "attention.value_length": width,
        "attention.layer_norm_rms_epsilon": float(config.rms_norm_eps),
    }
    if config.model_type == "gemma2":
        found["attn_logit_softcapping"] = float(config.attn_logit_softcapping or NO_SOFTCAP)
        found["final_logit_softcapping"] = float(config.final_logit_softcapping or NO_SOFTCAP)
    elif getattr(config, "final_logit_softcapping", None):
        found["final_logit_softcapping"] = float(config.final_logit_softcapping)
    return found


def windows(config: Any, found: Architecture) -> tuple[Metadata, str | None]:
    """The keys for the windows of a model's layers, and a warning if llama.cpp will not apply them."""
    layers = layer_windows(config)
    sizes = {size for size in layers if size}
    if not found.window_period:
        key = {"attention.sliding_window": max(sizes, default=0)} if sizes or found.name == "phi3" else {}
        return key, _ignored(config, min(sizes)) if sizes else None
    pattern = [bool(size) for size in layers]
    rotary_types = _types(config) if found.name == "gemma3" else pattern
    if len(sizes) > 1 or pattern != rotary_types:
        return {"attention.sliding_window": max(sizes, default=0)}, _ignored(config, min(sizes))
    usual = [bool((i + 1) % found.window_period) for i in range(len(pattern))]
    keys: Metadata = {"attention.sliding_window": max(sizes, default=int(config.max_position_embeddings))}
    return keys if pattern == usual else {**keys, "attention.sliding_window_pattern": pattern}, None


def _types(config: Any) -> list[bool]:
    return [kind == "sliding_attention" for kind in config.layer_types]


def _ignored(config: Any, window: int) -> str | None:
    """llama.cpp's full attention is the same as a window of at least the longest context."""
    if window >= config.max_position_embeddings:
        return None
    return (
        f"llama.cpp does not apply the sliding window that this model was trained with. Its answers are the same up to {window} "
        f"tokens of context; set the context length to {window}, or use aios chat, which applies the window."
    )
