"""Memory-efficient attention from the xformers package. All use of that package is in this file.

Masks are aligned at the last query and key ("FromBottomRight"): its plain LowerTriangularMask has no local form.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from trainer.attention.packing import lay_out, pack
from trainer.attention.request import AttentionRequest

DISTRIBUTION = "xformers"
OPTIONS = {"attn_bias", "p", "scale"}


def reasons_against(request: AttentionRequest) -> list[str]:
    """What its kernels are not made for."""
    reasons = []
    if not request.device.startswith("cuda"):
        reasons.append(f"needs an NVIDIA GPU, and this runs on {request.device}")
    if request.dtype not in ("float32", "float16", "bfloat16"):
        reasons.append(f"does not compute in {request.dtype}")
    if request.head_dim % 8 != 0:
        reasons.append(f"needs a head dimension that 8 divides, not {request.head_dim}")
    return reasons


def reasons_here() -> list[str]:
    """Why it cannot run on this machine at all, the first reason met."""
    if importlib.util.find_spec("xformers") is None:
        return ["xformers package not installed"]
    if not torch.cuda.is_available():
        return ["needs an NVIDIA GPU that torch can use"]
    missing = OPTIONS - set(inspect.signature(_ops().memory_efficient_attention).parameters)
    if missing:
        return [f"memory_efficient_attention of this xformers has no {', '.join(sorted(missing))}"]
    for name in ("LowerTriangularFromBottomRightMask", "BlockDiagonalCausalFromBottomRightMask"):
        if not hasattr(getattr(_biases(), name, None), "make_local_attention"):
            return [f"this xformers has no {name} with a window"]
    return []


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
    """Attention of q (B, H, S_q, D) over k and v (B, H_kv, S_k, D); see `attention`."""
    groups = q.shape[1] // k.shape[1]
    if groups > 1:
        k, v = k.repeat_interleave(groups, dim=1), v.repeat_interleave(groups, dim=1)
    if document_ids is None:
        bias: Any = _biases().LowerTriangularFromBottomRightMask()
        q_bshd, k_bshd, v_bshd = q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2)
    else:
        packing = pack(document_ids, q.shape[2])
        bias = _biases().BlockDiagonalCausalFromBottomRightMask.from_seqlens(
            list(packing.query_lengths), list(packing.key_lengths)
        )
        q_bshd, k_bshd, v_bshd = (
            x[None] for x in (lay_out(q), lay_out(k)[packing.keys], lay_out(v)[packing.keys])
        )
    if window is not None:
        bias = bias.make_local_attention(window)
    output: Tensor = _ops().memory_efficient_attention(
        q_bshd, k_bshd, v_bshd, attn_bias=bias, p=dropout, scale=scale
    )
    return output.reshape(q.shape[0], q.shape[2], *output.shape[2:]).transpose(1, 2)


def _ops() -> ModuleType:
    return importlib.import_module("xformers.ops")


def _biases() -> ModuleType:
    return importlib.import_module("xformers.ops.fmha.attn_bias")
