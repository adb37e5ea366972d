"""The backend that needs only torch: its own kernels where they support a window, else blocks of matrix products.

Implementations: `cudnn` and `causal` are torch's scaled_dot_product_attention without a window; `varlen-flash` and
`efficient` are torch's CUDA kernels with a window; `dense` passes a mask to scaled_dot_product_attention, for sequences
so short that the S x S table is small; `banded` serves everything, on every device.
"""

from __future__ import annotations

from collections.abc import Collection

import torch
from torch import Tensor

from trainer.attention.backend import Backend, Implementation, no_limits
from trainer.attention.banded import banded
from trainer.attention.efficient import EFFICIENT
from trainer.attention.packing import interrupted
from trainer.attention.request import AttentionRequest, Options, describe
from trainer.attention.scaled_dot_product import CAUSAL, CUDNN, DENSE
from trainer.attention.varlen_flash import VARLEN_FLASH

IMPLEMENTATIONS = (
    CUDNN,
    CAUSAL,
    VARLEN_FLASH,
    EFFICIENT,
    DENSE,
    Implementation("banded", banded, no_limits),
)
# The names of the implementations that may run; None for all that need no proof.
_proven: frozenset[str] | None = None


def use_proven(names: Collection[str] | None) -> None:
    """From now on, use only the implementations that were proven on this machine, and `banded`.

    Args:
        names: as the capability file lists them; None if nothing is known.
    """
    global _proven
    _proven = None if names is None else frozenset(names)


def choose(request: AttentionRequest, document_ids: Tensor | None) -> Implementation:
    """The first implementation that serves a request."""
    return next(one for one in IMPLEMENTATIONS if _serves(one, request, document_ids))


def _serves(one: Implementation, request: AttentionRequest, document_ids: Tensor | None) -> bool:
    if one is IMPLEMENTATIONS[-1]:
        return True
    unproven = one.needs_proof if _proven is None else one.name not in _proven
    if unproven or one.reasons_against(request):
        return False
    return document_ids is None or not (one.contiguous_documents and interrupted(document_ids))


def run(q: Tensor, k: Tensor, v: Tensor, options: Options) -> Tensor:
    """Attention by the first implementation that serves the call; see `Backend.run`."""
    request = describe(q, k, options, training=torch.is_grad_enabled())
    return choose(request, options.document_ids).run(q, k, v, options)


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
