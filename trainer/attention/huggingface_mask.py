"""The mask function for transformers: document ids in the place of a mask, which each layer passes to `attention`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from trainer.attention.current_documents import current

_MORE_THAN_CAUSAL = (
    "this call needs more than a causal mask with packed sequences (the model's own mask function, or a cache for "
    "compiled code), which no backend supports; for generation use the default cache"
)


def document_mask(
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
    allow_is_bidirectional_skip: bool | None = None,
    **_: Any,
) -> Tensor | None:
    """The mask function that transformers calls: document ids (B, 1, 1, all tokens so far); None for one document."""
    if allow_is_bidirectional_skip is not None:
        raise ValueError("it attends in both directions, as an encoder does, which no backend supports")
    length = kv_offset + kv_length
    if int(q_offset) + q_length != length:
        raise ValueError(
            f"the last query must be at the last key, but queries end at {int(q_offset) + q_length} and keys at "
            f"{length}; use the default (dynamic) cache"
        )
    given = current()
    if given is not None:
        if attention_mask is not None or not allow_is_causal_skip:
            raise ValueError(f"documents together with padding: {_MORE_THAN_CAUSAL}")
        return _as_mask(given[:, :length])
    if attention_mask is not None:
        if not allow_is_causal_skip:
            raise ValueError(_MORE_THAN_CAUSAL)
        if attention_mask.shape[1] < length:
            raise ValueError(
                f"attention_mask must cover all {length} tokens so far, including cached ones, got {attention_mask.shape[1]}"
            )
        kept = attention_mask[:, :length]
        # Padding after the tokens is never seen by them.
        return _as_mask(kept) if bool((kept[:, 1:] & ~kept[:, :-1]).any()) else None
    if allow_is_causal_skip:
        return None
    if mask_function is None or use_vmap or q_length != kv_length or kv_offset:
        raise ValueError(_MORE_THAN_CAUSAL)
    return _as_mask(_packed(mask_function, batch_size, length, torch.device(device)))


def _as_mask(document_ids: Tensor) -> Tensor:
    """Document ids (B, S) as a mask (B, 1, 1, S)."""
    return document_ids.long()[:, None, None]


def _packed(sees: Callable[..., Tensor], batch_size: int, length: int, device: torch.device) -> Tensor:
    """The sequences that position_ids separate, as document ids (B, S).

    Args:
        sees: transformers' function of (row, head, query, key). A token that does not see the one before it begins a
            sequence, also with a window of 1.
    """
    row = torch.arange(batch_size, device=device)[:, None]
    head = torch.zeros((), dtype=torch.long, device=device)
    later = torch.arange(1, length, device=device)[None]
    # Compiled code, where transformers always calls this, cannot read values.
    if not torch.compiler.is_compiling() and bool(sees(row, head, later - 1, later).any()):
        raise ValueError(_MORE_THAN_CAUSAL)
    begins = ~sees(row, head, later, later - 1).expand(batch_size, -1)
    return torch.nn.functional.pad(begins.long().cumsum(1), (1, 0))
