"""Runs any transformers causal language model on `attention`, through transformers' own interfaces for that.

The backend is part of the implementation's name, which transformers keeps out of config.json; the windows are a setting
of the model, and are saved there as `aios_windows`. Nothing is added to the model: parameter names stay as they are.

Where transformers would make a mask of padding or of packed sequences, it is handed document ids instead: padding is a
document of its own. So no S x S table is ever made, and every backend serves both.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor
from transformers import (
    MODEL_FOR_CAUSAL_LM_MAPPING,
    AttentionInterface,
    AttentionMaskInterface,
    PreTrainedConfig,
)

from trainer.attention.choice import MODULES
from trainer.attention.interface import attention
from trainer.attention.pattern import LAYER_TYPES, Windows, asked_windows, own_windows, repeat, smaller

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
    "use_bidirectional_attention": "attends in both directions",
}
# What models pass that changes the result and that `attention` does not know.
_UNKNOWN_TO_US = ("s_aux", "position_bias", "head_mask", "cache")


def attach(
    config: PreTrainedConfig, *, backend: str = "auto", window: int | Windows | list[int | None] | None = None
) -> None:
    """Make models of this config run on `attention`; before or after they are built.

    Args:
        config: changed in place.
        backend: as in `attention`; kept out of config.json.
        window: tokens that a query sees, itself among them; None or 0 for all. One for all layers, or one for each: see
            `pattern.repeat`. Where a layer has a sliding window of its own, the smaller one counts. Saved in
            config.json: see `pattern.asked_windows`.

    Models then take the keyword `document_ids` (B, S).

    Raises:
        ValueError: an unknown backend, a negative window, another number of windows than of layers, or a model that
            attends in a way that no backend serves.
    """
    if backend not in _IMPLEMENTATIONS:
        raise ValueError(f"unknown attention backend {backend!r}; one of auto, {', '.join(MODULES)}")
    text = config.get_text_config(decoder=True)
    windows = (window,) if window is None or isinstance(window, int) else tuple(window)
    if len(windows) not in (1, text.num_hidden_layers):
        raise ValueError(f"got {len(windows)} windows for {text.num_hidden_layers} layers")
    windows = repeat(text.num_hidden_layers, None, windows)
    for name, does in _UNSERVED.items():
        if getattr(text, name, None):
            value = getattr(text, name)
            raise ValueError(
                f"a {text.model_type} model with {name} = {value} {does}, which no backend here serves"
            )
    others = sorted(set(getattr(text, "layer_types", None) or ()) - set(LAYER_TYPES))
    if others:
        raise ValueError(
            f"a {text.model_type} model has layers of the type {', '.join(others)}, which no backend here serves"
        )
    model: Any = MODEL_FOR_CAUSAL_LM_MAPPING.get(type(config), None)
    if model is not None and not model.is_backend_compatible():
        raise ValueError(
            f"a {text.model_type} model of this transformers computes attention itself and lets no backend do it"
        )
    for name, own in _IMPLEMENTATIONS.items():
        AttentionInterface.register(own, partial(_attend, backend=name))
        AttentionMaskInterface.register(own, _document_ids)
    config._attn_implementation = _IMPLEMENTATIONS[backend]
    text.aios_windows = list(windows) if any(windows) else None


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
    softcap: float | None = None,
    document_ids: Tensor | None = None,
    is_causal: bool | None = None,
    **others: Any,
) -> tuple[Tensor, None]:
    """What transformers calls in each layer: (B, H, S, D) in, (B, S, H, D) out, and no weights."""
    if attention_mask is not None:
        if attention_mask.ndim != 2:
            raise ValueError(
                "a ready-made attention mask is not supported: pass a window, document_ids, or the attention_mask of padding"
            )
        if document_ids is not None:
            raise ValueError(
                "padding beside document_ids is not supported: make the padding a document of its own"
            )
        document_ids = attention_mask[:, -key.shape[2] :]  # made by `_document_ids`, for all tokens so far
    if is_causal is False or not getattr(module, "is_causal", True):
        raise ValueError(f"{type(module).__name__} does not attend causally, which no backend here serves")
    unknown = [name for name in _UNKNOWN_TO_US if others.get(name) is not None]
    if unknown or others.get("output_attentions"):
        asked = ", ".join(unknown) or "output_attentions"
        raise ValueError(f"{type(module).__name__} asks for {asked}, which no backend here serves")
    output = attention(
        query,
        key,
        value,
        backend=backend,
        window=_window(module, sliding_window),
        document_ids=document_ids,
        scale=scaling,
        dropout=dropout,
        softcap=softcap,
    )
    return output.transpose(1, 2).contiguous(), None


def _window(module: Any, sliding_window: int | None) -> int | None:
    """The window of the layer that this module belongs to, which says itself that its own is `sliding_window`."""
    own, asked = own_windows(module.config), asked_windows(module.config)
    layer = getattr(module, "layer_idx", None)
    if layer is None:
        if len({*own}) > 1 or len({*asked}) > 1:
            raise ValueError(
                f"{type(module).__name__} does not know which layer it is in: give all layers one window"
            )
        layer = 0
    if own[layer] != (sliding_window or None):  # a cache that goes by the configuration would lose keys
        raise ValueError(
            f"layer {layer} of this {module.config.model_type} model attends with the window {sliding_window}, but its "
            f"configuration says {own[layer]} (sliding_window, layer_types): take what it does not use out of it"
        )
    return smaller(own[layer], asked[layer])


def _document_ids(
    batch_size: int,
    q_length: int,
    kv_length: int,
    q_offset: int | Tensor = 0,
    kv_offset: int = 0,
    mask_function: Callable[..., Tensor] | None = None,
    attention_mask: Tensor | None = None,
    allow_is_causal_skip: bool = True,
    use_vmap: bool = False,
    device: torch.device | str = "cpu",
    **_: Any,
) -> Tensor | None:
    """What transformers calls to make a mask: gives document ids (B, all tokens so far), or None where none are needed."""
    length = kv_offset + kv_length
    if int(q_offset) + q_length != length:
        raise ValueError(
            f"the last query must be at the last key, but queries end at {int(q_offset) + q_length} and keys at "
            f"{length}; use the default (dynamic) cache"
        )
    if attention_mask is not None:
        if attention_mask.shape[1] < length:
            raise ValueError(
                f"attention_mask must cover all {length} tokens so far, the cached ones among them, got {attention_mask.shape[1]}"
            )
        kept = attention_mask[:, :length]
        # Padding behind the tokens is never seen by them.
        return kept.long() if bool((kept[:, 1:] & ~kept[:, :-1]).any()) else None
    if allow_is_causal_skip:
        return None
    if mask_function is None or use_vmap or q_length != kv_length or kv_offset:
        raise ValueError(_MORE_THAN_CAUSAL)
    return _packed(mask_function, batch_size, length, torch.device(device))


def _packed(sees: Callable[..., Tensor], batch_size: int, length: int, device: torch.device) -> Tensor:
    """The sequences that position_ids tell apart, as document ids (B, S).

    Args:
        sees: transformers' function of (row, head, query, key). A token that does not see the one before it begins a
            sequence, also with a window of 1.
    """
    row, head = (
        torch.arange(batch_size, device=device)[:, None],
        torch.zeros((), dtype=torch.long, device=device),
    )
    later = torch.arange(1, length, device=device)[None]
    # Compiled code, where transformers always asks for this, cannot look at values.
    if not torch.compiler.is_compiling() and bool(sees(row, head, later - 1, later).any()):
        raise ValueError(_MORE_THAN_CAUSAL)
    begins = ~sees(row, head, later, later - 1).expand(batch_size, -1)
    return torch.nn.functional.pad(begins.long().cumsum(1), (1, 0))


_MORE_THAN_CAUSAL = (
    "this call needs more than a causal mask with packed sequences (a mask function of the model's own, or a cache for "
    "compiled code), which no backend here serves; for generation use the default cache"
)
