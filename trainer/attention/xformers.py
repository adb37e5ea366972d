"""Memory-efficient attention from the xformers package. Only this file uses that package.

Masks are aligned at the last query and key ("from bottom right"). Beware of `make_local_attention`: for a mask of
documents it returns one that is aligned at the first query and key, even if the mask itself was not.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
from types import ModuleType

import torch
from torch import Tensor

from trainer.attention.backend import Backend
from trainer.attention.packing import lay_out, pack
from trainer.attention.request import AttentionRequest, Options

OPTIONS = {"attn_bias", "p", "scale"}


def reasons_against(request: AttentionRequest) -> list[str]:
    """Return the limits of the kernels that the request exceeds."""
    reasons = request.not_on_gpu
    if request.dtype not in ("float32", "float16", "bfloat16"):
        reasons.append(f"does not compute in {request.dtype}")
    if request.head_dim % 8 != 0:
        reasons.append(f"needs a head dimension that is a multiple of 8, not {request.head_dim}")
    if request.softcap:
        reasons.append("does not cap scores")
    return reasons


def reasons_here() -> list[str]:
    """The first reason why it cannot run on this machine."""
    if importlib.util.find_spec("xformers") is None:
        return ["xformers package not installed"]
    if not torch.cuda.is_available():
        return ["needs an NVIDIA GPU that torch can use"]
    missing = OPTIONS - set(inspect.signature(_ops().memory_efficient_attention).parameters)
    if missing:
        return [f"memory_efficient_attention of this xformers has no {', '.join(sorted(missing))}"]
    if "device" not in inspect.signature(_biases().BlockDiagonalMask.from_seqlens).parameters:
        return ["BlockDiagonalMask of this xformers takes no device; version 0.0.29 is needed"]
    return []


def run(q: Tensor, k: Tensor, v: Tensor, options: Options) -> Tensor:
    """Attention by xformers; see `Backend.run`."""
    window = options.window
    if options.document_ids is None:
        bias = _biases().LowerTriangularFromBottomRightMask()
        if window is not None:
            bias = bias.make_local_attention(window)
        q_bshd, k_bshd, v_bshd = (x.transpose(1, 2) for x in (q, k, v))
    else:
        packing = pack(options.document_ids, q.shape[2])
        documents = _biases().BlockDiagonalMask.from_seqlens(
            list(packing.query_lengths), list(packing.key_lengths), device=q.device
        )
        if window is None:
            bias = documents.make_causal_from_bottomright()
        else:
            bias = documents.make_local_attention_from_bottomright(window)
        q_bshd, k_bshd, v_bshd = (
            x[None] for x in (lay_out(q), lay_out(k)[packing.keys], lay_out(v)[packing.keys])
        )
    output: Tensor = _ops().memory_efficient_attention(
        *_grouped(_aligned(q_bshd), _aligned(k_bshd), _aligned(v_bshd)),
        attn_bias=bias,
        p=options.dropout,
        scale=options.scale,
    )
    return output.reshape(q.shape[0], q.shape[2], q.shape[1], q.shape[3]).transpose(1, 2)


def _grouped(q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, ...]:
    """(B, S, H, D) as they are, or (B, S, H_kv, H / H_kv, D) if H > H_kv; keys and values are expanded, not copied."""
    groups = q.shape[2] // k.shape[2]
    if groups == 1:
        return q, k, v
    return q.view(*q.shape[:2], -1, groups, q.shape[3]), *(
        x[:, :, :, None].expand(-1, -1, -1, groups, -1) for x in (k, v)
    )


def _aligned(x: Tensor) -> Tensor:
    """x with a stride between heads that is a multiple of 8, which the kernels require."""
    return x if x.stride(-2) % 8 == 0 else x.contiguous()


def _ops() -> ModuleType:
    return importlib.import_module("xformers.ops")


def _biases() -> ModuleType:
    return importlib.import_module("xformers.ops.fmha.attn_bias")


XFORMERS = Backend(
    name="xformers",
    label=lambda request: "xformers (memory-efficient attention)",
    distribution="xformers",
    max_head_dim=None,
    reasons_here=reasons_here,
    reasons_against=reasons_against,
    run=run,
)
