"""What torch itself brings: its scaled_dot_product_attention, and blocks of plain products where that would be O(S^2).

Implementations: `causal` is torch's own causal kernel; `dense` gives it a mask, for sequences so short that the S x S
table is small; `banded` is everything else.
"""

from __future__ import annotations

from collections.abc import Callable

import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from trainer.attention.banded import banded
from trainer.attention.definition import mask
from trainer.attention.request import AttentionRequest

SHORT = 128  # keys up to which one masked call is quicker than blocks


def reasons_against(request: AttentionRequest) -> list[str]:
    """None: where torch's kernels cannot serve, `banded` does."""
    return []


def reasons_here() -> list[str]:
    """None: it comes with torch."""
    return []


def causal(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    *,
    window: int | None,
    document_ids: Tensor | None,
    scale: float,
    dropout: float,
) -> Tensor:
    """For as many queries as keys, or one; no window, no documents. (torch aligns `is_causal` at the first key.)"""
    if window is not None or document_ids is not None or q.shape[2] not in (1, k.shape[2]):
        raise ValueError("causal serves no window, no documents, and as many queries as keys or one")
    return F.scaled_dot_product_attention(
        q,
        k,
        v,
        dropout_p=dropout,
        is_causal=q.shape[2] > 1,
        scale=scale,
        enable_gqa=q.shape[1] != k.shape[1],
    )


def dense(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    *,
    window: int | None,
    document_ids: Tensor | None,
    scale: float,
    dropout: float,
) -> Tensor:
    """One call with the whole mask."""
    sees = mask(q.shape[2], k.shape[2], window, document_ids).to(q.device)
    return F.scaled_dot_product_attention(
        q,
        k,
        v,
        attn_mask=sees if document_ids is None else sees[:, None],
        dropout_p=dropout,
        scale=scale,
        enable_gqa=q.shape[1] != k.shape[1],
    )


IMPLEMENTATIONS: dict[str, Callable[..., Tensor]] = {"causal": causal, "dense": dense, "banded": banded}


def implementation(
    query_length: int, key_length: int, *, window: int | None, packed: bool, dropout: float, device_type: str
) -> str:
    """Which implementation runs."""
    plain = window is None and not packed and query_length in (1, key_length)
    if plain and (
        device_type != "cpu" or not dropout
    ):  # with dropout, torch's CPU kernel keeps S x S weights
        return "causal"
    return "dense" if key_length <= SHORT else "banded"


def run(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    *,
    window: int | None,
    document_ids: Tensor | None,
    scale: float,
    dropout: float,
) -> Tensor:
    """Attention of q (B, H, S_q, D) over k and v (B, H_kv, S_k, D); see `attention`. Keys out of reach are cut."""
    name = implementation(
        q.shape[2],
        k.shape[2],
        window=window,
        packed=document_ids is not None,
        dropout=dropout,
        device_type=q.device.type,
    )
    return IMPLEMENTATIONS[name](
        q, k, v, window=window, document_ids=document_ids, scale=scale, dropout=dropout
    )
