"""Run causal language models of transformers on `attention`, through transformers' own interfaces.

The backend is part of the implementation's name, which transformers does not save in config.json. The windows are a
setting of the model and are saved there as `aios_windows`. Nothing is added to the model: parameter names do not change.

Where transformers would make a mask from padding or from packed sequences, it gets document ids (B, 1, 1, S) instead:
padding is a document of its own. So no S x S table is ever made, and every backend supports both. Models slice masks of
four dimensions along the last one, which works for these, too.
"""

from __future__ import annotations

import inspect
from functools import cache, partial
from typing import Any

import torch
from torch import Tensor
from transformers import (
    MODEL_FOR_CAUSAL_LM_MAPPING,
    AttentionInterface,
    AttentionMaskInterface,
    PreTrainedConfig,
)

from trainer.attention import call_trace, carry
from trainer.attention.call_trace import TracedCall
from trainer.attention.choice import BACKENDS, backend_named
from trainer.attention.current_documents import accept_document_ids, documents
from trainer.attention.huggingface_mask import document_mask
from trainer.attention.interface import attention
from trainer.attention.pattern import (
    LAYER_TYPES,
    Windows,
    layer_windows,
    own_windows,
    repeat,
    smallest,
    trained_windows,
)

__all__ = ["attach", "documents"]

# Settings of models that no backend supports, and their effect.
_UNSUPPORTED_SETTINGS = {
    "attention_chunk_size": "attends in chunks",
    "use_bidirectional_attention": "attends in both directions",
}
# Arguments that some models pass, that change the result, and that `attention` does not support.
_UNSUPPORTED_ARGUMENTS = {
    "s_aux": "learned attention sinks (s_aux)",
    "position_bias": "position_bias",
    "head_mask": "head_mask",
    "cache": "cache",
}


def attach(
    model: PreTrainedConfig | torch.nn.Module,
    *,
    backend: str = "auto",
    window: int | Windows | list[int | None] | None = None,
) -> None:
    """Make models run on `attention`, whether they are already built or not.

    Models then accept the keyword `document_ids` (B, S). If a built model drops it (Nemotron), hooks pass it on; for models
    that are built later, use `documents`.

    Args:
        model: a configuration, changed in place, for all models of this configuration; or a built model, on which
            causality and the window are proven at once.
        backend: as in `attention`; not saved in config.json.
        window: tokens that a query sees, including its own; None or 0 for all. One for all layers, or one for each: see
            `pattern.repeat`. If a layer also has a sliding window of its own, the smaller one applies. Saved in
            config.json: see `pattern.trained_windows`.

    Raises:
        ValueError: an unknown backend, a negative window, a number of windows other than that of the layers, or a model
            that attends in a way that no backend supports.
    """
    if backend != "auto":
        backend_named(backend)
    built = model if isinstance(model, torch.nn.Module) else None
    config: Any = model if built is None else built.config
    text = config.get_text_config(decoder=True)
    if not getattr(text, "num_hidden_layers", None):
        raise ValueError(
            f"a {text.model_type} model has no layers with attention that a backend could compute"
        )
    windows = (window,) if window is None or isinstance(window, int) else tuple(window)
    if len(windows) not in (1, text.num_hidden_layers):
        raise ValueError(f"got {len(windows)} windows for {text.num_hidden_layers} layers")
    windows = repeat(text.num_hidden_layers, None, windows)
    _check_supported(config, text)
    for name in ("auto", *(each.name for each in BACKENDS)):
        AttentionInterface.register(_implementation_name(name), partial(_attend, backend=name))
        AttentionMaskInterface.register(_implementation_name(name), document_mask)
    before = config._attn_implementation, getattr(text, "aios_windows", None)
    config._attn_implementation = _implementation_name(backend)
    text.aios_windows = list(windows) if any(windows) else None
    if built is not None:
        try:
            _check_proof(built, windows)
        except BaseException:
            config._attn_implementation, text.aios_windows = before
            raise


def _check_proof(model: torch.nn.Module, windows: Windows) -> None:
    from trainer.attention import model_proof  # it imports this module

    failures = model_proof.prove(model).failures(packed=False, windows=any(windows))
    if failures:
        raise ValueError(f"this {type(model).__name__} cannot run on attention here: {'; '.join(failures)}")
    if not model_proof.passes_on_document_ids(model):
        accept_document_ids(model)


def _implementation_name(backend: str) -> str:
    """transformers' name for a backend. "flash" or "sdpa" in it would make transformers check for its own packages."""
    return "aios_" + backend.replace("flash", "fa").replace("sdpa", "torch")


def _check_supported(config: PreTrainedConfig, text: Any) -> None:
    """Raise ValueError if the model attends in a way that no backend supports."""
    for name, effect in _UNSUPPORTED_SETTINGS.items():
        if value := getattr(text, name, None):
            raise ValueError(
                f"a {text.model_type} model with {name} = {value} {effect}, which no backend supports"
            )
    others = sorted(set(getattr(text, "layer_types", None) or ()) - set(LAYER_TYPES))
    if others:
        raise ValueError(
            f"a {text.model_type} model has layers of the type {', '.join(others)}, which no backend supports"
        )
    model: Any = MODEL_FOR_CAUSAL_LM_MAPPING.get(type(config), None)
    if model is None:
        return
    if not model.is_backend_compatible():
        raise ValueError(
            f"in this version of transformers a {text.model_type} model computes attention itself, and no backend can "
            "replace that"
        )
    if _has_sinks(model):
        raise ValueError(f"a {text.model_type} model has learned attention sinks, which no backend supports")


@cache
def _has_sinks(model: type) -> bool:
    """Whether the module that defines a model passes sinks to attention, as gpt-oss does."""
    return "s_aux=" in inspect.getsource(inspect.getmodule(model) or model)


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
    carry_entry: int | None = None,
    **others: Any,
) -> tuple[Tensor, None]:
    """Attention as transformers calls it in each layer: (B, H, S, D) in, (B, S, H, D) out, and no weights.

    `carry_entry` is the layer's entry in a carry, if layers run more than once.
    """
    if carried := carry.current():
        entry: Any = module.layer_idx if carry_entry is None else carry_entry
        key, value = carried.join(entry, key, value)
        document_ids = None if document_ids is None else document_ids[:, -key.shape[2] :]
    if attention_mask is not None:
        if attention_mask.ndim != 4 or attention_mask.dtype != torch.long or attention_mask.shape[2] != 1:
            raise ValueError(
                f"{type(module).__name__} gets a 4-dimensional attention mask, which no backend supports; use a window, "
                "document_ids, or a padding mask (B, S)"
            )
        if document_ids is not None:
            raise ValueError(
                "document_ids together with padding, or with position_ids that begin again, is not supported: make the "
                "padding a document of its own, and let document_ids alone separate the documents"
            )
        document_ids = attention_mask[:, 0, 0, -key.shape[2] :]  # from `document_mask`, for all tokens so far
    if is_causal is False or not getattr(module, "is_causal", True):
        raise ValueError(f"{type(module).__name__} does not attend causally, which no backend supports")
    unknown = [text for name, text in _UNSUPPORTED_ARGUMENTS.items() if others.get(name) is not None]
    if unknown or others.get("output_attentions"):
        names = ", ".join(unknown) or "output_attentions"
        raise ValueError(f"{type(module).__name__} passes {names}, which no backend supports")
    window = _window(module, sliding_window)
    if trace := call_trace.active():
        trace.calls.append(_describe(module, query, key, value, window, document_ids, dropout, softcap))
        window = 1 if trace.blind else window
    output = attention(
        query,
        key,
        value,
        backend=backend,
        window=window,
        document_ids=document_ids,
        scale=scaling,
        dropout=dropout,
        softcap=softcap,
    )
    return output.transpose(1, 2).contiguous(), None


def _describe(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    window: int | None,
    document_ids: Tensor | None,
    dropout: float,
    softcap: float | None,
) -> TracedCall:
    heads, width, value_width = query.shape[1], query.shape[3], value.shape[3]
    return TracedCall(
        layer=getattr(module, "layer_idx", None),
        query_heads=heads,
        key_heads=key.shape[1],
        head_dim=max(width, value_width),
        product_width=heads * (width + value_width) // 2,
        window=window,
        documents=document_ids is not None,
        dropout=dropout,
        softcap=bool(softcap),
    )


def fix_windows(model: torch.nn.Module) -> None:
    """Note the window of each layer in its attention module, after which the configuration's have no effect.

    torch.compile then has one variant of a layer for each window, and not one for each number of a layer.
    """
    modules: Any = model.modules()
    for module in modules:
        if getattr(module, "layer_idx", None) is not None and hasattr(module, "config"):
            windows = layer_windows(module.config)
            if module.layer_idx < len(windows):
                module.aios_window = windows[module.layer_idx]


def _window(module: Any, sliding_window: int | None) -> int | None:
    """The window of the layer that this module belongs to; the module itself passes `sliding_window`."""
    if hasattr(module, "aios_window"):  # `fix_windows`
        found: int | None = module.aios_window
        return found
    own, trained = own_windows(module.config), trained_windows(module.config)
    layer = getattr(module, "layer_idx", None)
    if layer is None:
        if len({*own}) > 1 or len({*trained}) > 1:
            raise ValueError(
                f"{type(module).__name__} does not know its layer: give all layers the same window"
            )
        layer = 0
    if own[layer] != (sliding_window or None):  # a cache sized by the configuration would lose keys
        raise ValueError(
            f"layer {layer} of this {module.config.model_type} model attends with the window {sliding_window}, but its "
            f"configuration says {own[layer]} (sliding_window, layer_types): remove the setting that the model does not use"
        )
    return smallest(own[layer], trained[layer])
