"""What torch itself brings: its own kernels where they have a window, and blocks of plain products for all else.

Implementations: `causal` is torch's scaled_dot_product_attention without a window; `varlen-flash` and `efficient` are
its CUDA kernels with one; `dense` gives scaled_dot_product_attention a mask, for sequences so short that the S x S
table is small; `banded` serves everything, on every device.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from trainer.attention import efficient, varlen_flash
from trainer.attention.banded import banded
from trainer.attention.definition import mask
from trainer.attention.request import AttentionRequest, Options

# Keys up to which one masked call is as quick as blocks. Forward and backward, dense / blocks on one thread (AMD EPYC, torch
# 2.13, B=1 H=8 and B=4 H=6, D=64, medians of 51 rounds): float32 0.6 to 1.0 at 128 keys, 0.9 to 1.2 at 192, 1.0 to 1.6
# at 256, 1.2 to 2.3 at 384; bfloat16 0.9 to 1.4 at 192, 1.2 to 1.7 at 256.
SHORT = 192


def reasons_against(request: AttentionRequest) -> list[str]:
    """None: where torch's kernels cannot serve, `banded` does."""
    return []


def reasons_here() -> list[str]:
    """None: it comes with torch."""
    return []


def causal(q: Tensor, k: Tensor, v: Tensor, options: Options) -> Tensor:
    """Torch's own choice of a kernel."""
    return F.scaled_dot_product_attention(
        q,
        k,
        v,
        dropout_p=options.dropout,
        is_causal=q.shape[2] > 1,
        scale=options.scale,
        enable_gqa=q.shape[1] != k.shape[1],
    )


def _reasons_against_causal(q: Tensor, k: Tensor, options: Options) -> list[str]:
    reasons = []
    if options.window is not None or options.document_ids is not None:
        reasons.append("serves no window and no documents")
    if options.softcap is not None:
        reasons.append("does not cap scores")
    if q.shape[2] not in (1, k.shape[2]):
        reasons.append("is aligned at the first key")
    if q.device.type == "cpu" and options.dropout:
        reasons.append("keeps S x S weights on a CPU with dropout")
    return reasons


def dense(q: Tensor, k: Tensor, v: Tensor, options: Options) -> Tensor:
    """One call with the whole mask."""
    sees = mask(q.shape[2], k.shape[2], options.window, options.document_ids).to(q.device)
    return F.scaled_dot_product_attention(
        q,
        k,
        v,
        attn_mask=sees if options.document_ids is None else sees[:, None],
        dropout_p=options.dropout,
        scale=options.scale,
        enable_gqa=q.shape[1] != k.shape[1],
    )


def _serves_all(q: Tensor, k: Tensor, options: Options) -> list[str]:
    return []


def _reasons_against_dense(q: Tensor, k: Tensor, options: Options) -> list[str]:
    return [] if options.softcap is None else ["does not cap scores"]


@dataclass(frozen=True)
class Implementation:
    """One way to run a call, and why it cannot run this one."""

    run: Callable[[Tensor, Tensor, Tensor, Options], Tensor]
    reasons_against: Callable[[Tensor, Tensor, Options], list[str]] = _serves_all


IMPLEMENTATIONS = {  # the first that serves runs; `dense` only where keys are few
    "causal": Implementation(causal, _reasons_against_causal),
    "varlen-flash": Implementation(varlen_flash.run, varlen_flash.reasons_against),
    "efficient": Implementation(efficient.run, efficient.reasons_against),
    "dense": Implementation(dense, _reasons_against_dense),
    "banded": Implementation(banded),
}


def implementation(q: Tensor, k: Tensor, options: Options) -> str:
    """Which implementation runs."""
    return next(
        name
        for name, one in IMPLEMENTATIONS.items()
        if (name != "dense" or k.shape[2] <= SHORT) and not one.reasons_against(q, k, options)
    )


def run(q: Tensor, k: Tensor, v: Tensor, options: Options) -> Tensor:
    """Attention of q (B, H, S_q, D) over k and v (B, H_kv, S_k, D); see `attention`. Keys out of reach are cut."""
    return IMPLEMENTATIONS[implementation(q, k, options)].run(q, k, v, options)
