"""FlashAttention as PyTorch itself brings it (`torch.nn.attention.varlen`, torch 2.11 and later), with a window.

Its window is (left, right): how many keys before and after the query's own, so W becomes (W - 1, 0). (Its docstring
says W, which is one too many.)
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import cache, partial
from typing import Any

import torch
from torch import Tensor

from trainer.attention.packing import interrupted, overflows, run_packed
from trainer.attention.request import Options

try:
    from torch.nn.attention.varlen import varlen_attn
except ImportError:
    varlen_attn = None  # type: ignore[assignment]

MAX_HEAD_DIM = 192  # some GPUs (8.6, 8.9, 12.0) give wider ones no gradient
MIN_COMPUTE_CAPABILITY = (8, 0)


def reasons_against(q: Tensor, k: Tensor, options: Options) -> list[str]:
    """What it is not made for, or this torch does not have."""
    if q.device.type != "cuda":
        return [f"needs an NVIDIA GPU, and this runs on {q.device}"]
    missing: list[str] = _missing_here(q.shape[1] != k.shape[1])
    if missing:
        return missing
    reasons = []
    if torch.cuda.get_device_capability(q.device) < MIN_COMPUTE_CAPABILITY:
        reasons.append("needs compute capability 8.0 or newer")
    if q.dtype not in (torch.float16, torch.bfloat16):
        reasons.append(f"computes in float16 and bfloat16, not in {q.dtype}")
    if q.shape[3] > MAX_HEAD_DIM or q.shape[3] % 8:
        reasons.append(f"serves heads up to {MAX_HEAD_DIM} wide that 8 divides, not {q.shape[3]}")
    if options.dropout:
        reasons.append("has no dropout")
    if overflows(q.shape[2] + 128, q.shape[1], q.shape[3]):
        reasons.append(f"counts with 32 bits: {q.shape[2]} tokens are too many")
    if options.softcap is not None:
        reasons.append("does not cap scores")
    if options.document_ids is not None and interrupted(options.document_ids):
        reasons.append("needs the tokens of a document side by side")
    return reasons


def run(q: Tensor, k: Tensor, v: Tensor, options: Options) -> Tensor:
    """Attention of q (B, H, S_q, D) over k and v (B, H_kv, S_k, D); see `attention`."""
    grouped: dict[str, Any] = {"enable_gqa": True} if q.shape[1] != k.shape[1] else {}
    window = (-1, 0) if options.window is None else (options.window - 1, 0)

    call: Callable[..., Any] = partial(varlen_attn, scale=options.scale, window_size=window, **grouped)
    return run_packed(call, q, k, v, options.document_ids)


@torch.compiler.assume_constant_result  # type: ignore[untyped-decorator]
@cache
def _missing_here(grouped: bool) -> list[str]:
    if varlen_attn is None:
        return ["needs torch 2.11 or later"]
    wanted = {"window_size", "scale"} | ({"enable_gqa"} if grouped else set())
    missing = wanted - set(inspect.signature(varlen_attn).parameters)
    if missing:
        return [f"varlen_attn of this torch has no {', '.join(sorted(missing))}"]
    if not torch.backends.cuda.is_flash_attention_available():
        return ["this torch was built without FlashAttention"]
    return []
