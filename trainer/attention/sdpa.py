"""The backend that needs only torch: its own kernels where they support a window, else blocks of matrix products.

Implementations: `causal` is torch's scaled_dot_product_attention without a window; `varlen-flash` and `efficient` are
torch's CUDA kernels with a window; `dense` passes a mask to scaled_dot_product_attention, for sequences so short that
the S x S table is small; `banded` serves everything, on every device.
"""

from __future__ import annotations

import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from trainer.attention.backend import Backend, Implementation, no_limits
from trainer.attention.banded import banded
from trainer.attention.definition import mask
from trainer.attention.efficient import EFFICIENT
from trainer.attention.packing import interrupted
from trainer.attention.request import AttentionRequest, Options, describe
from trainer.attention.varlen_flash import VARLEN_FLASH

# Keys up to which one masked call is as quick as blocks. Forward and backward, dense / blocks on one thread (AMD EPYC, torch
# 2.13, B=1 H=8 and B=4 H=6, D=64, medians of 51 rounds): float32 0.6 to 1.0 at 128 keys, 0.9 to 1.2 at 192, 1.0 to 1.6
# at 256, 1.2 to 2.3 at 384; bfloat16 0.9 to 1.4 at 192, 1.2 to 1.7 at 256.
SHORT = 192


def causal(q: Tensor, k: Tensor, v: Tensor, options: Options) -> Tensor:
    """torch's own choice of a kernel, without a window."""
    return F.scaled_dot_product_attention(
        q,
        k,
        v,
        dropout_p=options.dropout,
        is_causal=q.shape[2] > 1,
        scale=options.scale,
        enable_gqa=q.shape[1] != k.shape[1],
    )


def _reasons_against_causal(request: AttentionRequest) -> list[str]:
    reasons = []
    if request.window is not None or request.packed:
        reasons.append("supports neither a window nor documents")
    if request.softcap:
        reasons.append("does not cap scores")
    if request.query_length not in (1, request.key_length):
        reasons.append("aligns the first query with the first key")
    if request.device.startswith("cpu") and request.dropout:
        reasons.append("stores S x S weights on a CPU with dropout")
    return reasons


def dense(q: Tensor, k: Tensor, v: Tensor, options: Options) -> Tensor:
    """One call with the whole mask: O(S * S) memory."""
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


def _reasons_against_dense(request: AttentionRequest) -> list[str]:
    reasons = []
    if request.softcap:
        reasons.append("does not cap scores")
    if request.key_length is not None and request.key_length > SHORT:
        reasons.append(f"is slower than blocks for more than {SHORT} keys")
    return reasons


IMPLEMENTATIONS = (
    Implementation("causal", causal, _reasons_against_causal),
    VARLEN_FLASH,
    EFFICIENT,
    Implementation("dense", dense, _reasons_against_dense),
    Implementation("banded", banded, no_limits),
)


def choose(request: AttentionRequest, document_ids: Tensor | None) -> Implementation:
    """The first implementation that serves a request."""
    return next(one for one in IMPLEMENTATIONS if _serves(one, request, document_ids))


def _serves(one: Implementation, request: AttentionRequest, document_ids: Tensor | None) -> bool:
    if one.reasons_against(request):
        return False
    return document_ids is None or not (one.contiguous_documents and interrupted(document_ids))


def run(q: Tensor, k: Tensor, v: Tensor, options: Options) -> Tensor:
    """Attention by the first implementation that serves the call; see `Backend.run`."""
    return choose(describe(q, k, options), options.document_ids).run(q, k, v, options)


def label(request: AttentionRequest) -> str:
    """The backend's name for the log, with the kind of kernel that runs."""
    if request.window is not None:
        return "PyTorch SDPA (sliding window)"
    if request.packed:
        return "PyTorch SDPA (packed documents)"
    half_on_gpu = request.device.startswith("cuda") and request.dtype != "float32"
    return "PyTorch SDPA (FlashAttention-1, standard)" if half_on_gpu else "PyTorch SDPA (standard)"


SDPA = Backend(
    name="sdpa",
    label=label,
    distribution="torch",
    max_head_dim=None,
    reasons_here=lambda: [],
    reasons_against=no_limits,
    run=run,
    implementations=IMPLEMENTATIONS,
)
