"""The FlashAttention kernels in PyTorch itself (`torch.nn.attention.varlen`, torch 2.11 and later), with a window.

Their window is (left, right): the number of keys before and after the query's own, so W becomes (W - 1, 0). (The
docstring of `varlen_attn` says W, which is one too many.)
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import cache, partial
from typing import Any

import torch
from torch import Tensor

from trainer.attention.backend import Implementation
from trainer.attention.packing import overflows, run_packed
from trainer.attention.request import AttentionRequest, Options

try:
    from torch.nn.attention.varlen import varlen_attn
except ImportError:
    varlen_attn = None  # type: ignore[assignment]

MAX_HEAD_DIM = 192  # with more, some GPUs (8.6, 8.9, 12.0) compute no gradient
MIN_COMPUTE_CAPABILITY = (8, 0)


def reasons_against(request: AttentionRequest) -> list[str]:
    """Return the limits of the kernels that the request exceeds, or what this torch lacks."""
    if reason := request.not_on_gpu:
        return reason
    missing: list[str] = _missing_here(request.query_heads != request.key_heads)
    if missing:
        return missing
    reasons = []
    if torch.cuda.get_device_capability(request.device) < MIN_COMPUTE_CAPABILITY:
        reasons.append("needs compute capability 8.0 or newer")
    if request.dtype not in ("float16", "bfloat16"):
        reasons.append(f"computes in float16 and bfloat16, not in {request.dtype}")
    if request.head_dim > MAX_HEAD_DIM or request.head_dim % 8:
        reasons.append(
            f"supports head dimensions up to {MAX_HEAD_DIM} that are multiples of 8, not {request.head_dim}"
        )
    if request.dropout:
        reasons.append("does not support dropout")
    length = request.query_length or 0
    if overflows(length + 128, request.query_heads, request.head_dim):
        reasons.append(f"overflows its 32-bit indices with {length} tokens")
    if request.softcap:
        reasons.append("does not cap scores")
    return reasons


def run(q: Tensor, k: Tensor, v: Tensor, options: Options) -> Tensor:
    """Attention by `varlen_attn`; see `Backend.run`."""
    grouped: dict[str, Any] = {"enable_gqa": True} if q.shape[1] != k.shape[1] else {}
    window = (-1, 0) if options.window is None else (options.window - 1, 0)
    call: Callable[..., Any] = partial(varlen_attn, scale=options.scale, window_size=window, **grouped)
    return run_packed(call, q, k, v, options.document_ids)


@torch.compiler.assume_constant_result  # type: ignore[untyped-decorator]
@cache
def _missing_here(grouped: bool) -> list[str]:
    if varlen_attn is None:
        return ["needs torch 2.11 or later"]
    needed = {"window_size", "scale"} | ({"enable_gqa"} if grouped else set())
    missing = needed - set(inspect.signature(varlen_attn).parameters)
    if missing:
        return [f"varlen_attn of this torch has no {', '.join(sorted(missing))}"]
    if not torch.backends.cuda.is_flash_attention_available():
        return ["this torch was built without FlashAttention"]
    return []


VARLEN_FLASH = Implementation("varlen-flash", run, reasons_against, contiguous_documents=True)
