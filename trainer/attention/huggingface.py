"""Runs any transformers causal language model on `attention`, through transformers' own interfaces for that.

The backend is part of the implementation's name, which transformers keeps out of config.json; the window is a setting
of the model, and is saved there as `aios_window`. Nothing is added to the model: parameter names stay as they are.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedConfig

from trainer.attention.choice import MODULES
from trainer.attention.definition import effective_window
from trainer.attention.interface import attention

# No name may hold "flash" or "sdpa": transformers would take it for one of its own and check for its packages.
_IMPLEMENTATIONS = {
    "auto": "aios_auto",
    "flash_attn_2": "aios_fa2",
    "xformers": "aios_xformers",
    "sdpa": "aios_torch",
    "manual": "aios_manual",
}
# Settings of models that change the result, and what they make a model do.
_UNSERVED = {
    "attention_chunk_size": "attends in chunks",
    "attn_logit_softcapping": "caps its scores",
    "use_bidirectional_attention": "attends in both directions",
}
# What models pass that changes the result and that `attention` does not know.
_UNKNOWN_TO_US = ("softcap", "s_aux", "position_bias", "head_mask", "cache")


def attach(config: PreTrainedConfig, *, backend: str = "auto", window: int | None = None) -> None:
    """Make models of this config run on `attention`; before or after they are built.

    Args:
        config: changed in place.
        backend: as in `attention`; kept out of config.json.
        window: tokens that a query sees, itself among them, in every layer; None or 0 for all. Where a layer has a
            sliding window of its own, the smaller one counts. Saved in config.json: see `window_of`.

    Models then take the keyword `document_ids` (B, S), and refuse padding in front of or between tokens.

    Raises:
        ValueError: an unknown backend, a negative window, or a model that attends in a way that no backend serves.
    """
    if backend not in _IMPLEMENTATIONS:
        raise ValueError(f"unknown attention backend {backend!r}; one of auto, {', '.join(MODULES)}")
    effective_window(window, 1)
    text = config.get_text_config(decoder=True)
    for name, does in _UNSERVED.items():
        if getattr(text, name, None):
            value = getattr(text, name)
            raise ValueError(
                f"a {text.model_type} model with {name} = {value} {does}, which no backend here serves"
            )
    for name, own in _IMPLEMENTATIONS.items():
        AttentionInterface.register(own, partial(_attend, backend=name))
        AttentionMaskInterface.register(own, _check_mask)
    config._attn_implementation = _IMPLEMENTATIONS[backend]
    text.aios_window = window or None


def window_of(config: PreTrainedConfig) -> int | None:
    """The window that a model was trained with by `attach`, None for none."""
    window: int | None = getattr(config.get_text_config(decoder=True), "aios_window", None)
    return window


def _attend(
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    backend: str,
    dropout: float = 0.0,
    scaling: float | None = None,
    sliding_window: int | None = None,
    document_ids: Tensor | None = None,
    is_causal: bool | None = None,
    **others: Any,
) -> tuple[Tensor, None]:
    """What transformers calls in each layer: (B, H, S, D) in, (B, S, H, D) out, and no weights."""
    if attention_mask is not None:
        raise ValueError(
            "a ready-made attention mask is not supported: pass a window or document_ids instead"
        )
    if is_causal is False or not getattr(module, "is_causal", True):
        raise ValueError(f"{type(module).__name__} does not attend causally, which no backend here serves")
    unknown = [name for name in _UNKNOWN_TO_US if others.get(name) is not None]
    if unknown or others.get("output_attentions"):
        asked = ", ".join(unknown) or "output_attentions"
        raise ValueError(f"{type(module).__name__} asks for {asked}, which no backend here serves")
    windows = [window for window in (sliding_window, getattr(module.config, "aios_window", None)) if window]
    output = attention(
        query,
        key,
        value,
        backend=backend,
        window=min(windows, default=None),
        document_ids=document_ids,
        scale=scaling,
        dropout=dropout,
    )
    return output.transpose(1, 2).contiguous(), None


def _check_mask(
    batch_size: int,
    q_length: int,
    kv_length: int,
    q_offset: int | Tensor = 0,
    kv_offset: int = 0,
    attention_mask: Tensor | None = None,
    allow_is_causal_skip: bool = True,
    **_: Any,
) -> None:
    """What transformers calls to make a mask: makes none, and refuses what would need one."""
    if not allow_is_causal_skip:
        raise ValueError(
            "this call needs more than a causal mask (position_ids that start again, or a cache for compiled code); "
            "for packed documents pass document_ids, and for generation use the default cache"
        )
    if int(q_offset) + q_length != kv_offset + kv_length:
        raise ValueError(
            f"the last query must be at the last key, but queries end at {int(q_offset) + q_length} and keys at "
            f"{kv_offset + kv_length}; use the default (dynamic) cache"
        )
    if attention_mask is None:
        return
    kept = attention_mask[:, kv_offset : kv_offset + kv_length].bool()
    if bool((kept[:, 1:] & ~kept[:, :-1]).any()):  # padding behind the tokens is never seen by them
        raise ValueError(
            "attention_mask has padding in front of or between tokens, which is not supported: pad on the right, or "
            "generate for one prompt at a time"
        )
