"""PyTorch's memory-efficient attention (Rabe & Staats 2021, arXiv:2112.05682), with a window.

`scaled_dot_product_attention` runs the same kernels but has no option for a window; the operators below it do. They are
private, so their schema is checked before use. PyTorch's own gradient of the forward operator ignores the window, so the
gradient is registered here. The kernels support fp32, and GPUs that FlashAttention does not.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from trainer.attention.backend import Implementation
from trainer.attention.packing import lay_out, offsets, pack
from trainer.attention.request import AttentionRequest, Options

_FROM_BOTTOM_RIGHT = 2  # custom_mask_type: a causal mask that is aligned at the last query and key
_FORWARD = {"cu_seqlens_q", "max_seqlen_q", "custom_mask_type", "compute_log_sumexp", "scale", "window_size"}
_BACKWARD = {"cu_seqlens_q", "max_seqlen_q", "custom_mask_type", "logsumexp", "scale", "window_size"}


def reasons_against(request: AttentionRequest) -> list[str]:
    """Return the limits of the kernels that the request exceeds, or what this torch lacks."""
    if reason := request.not_on_gpu:
        return reason
    missing: list[str] = _missing_here()
    if missing:
        return missing
    reasons = []
    if request.dtype not in ("float32", "float16", "bfloat16"):
        reasons.append(f"does not compute in {request.dtype}")
    if request.dtype == "bfloat16" and torch.cuda.get_device_capability(request.device) < (8, 0):
        reasons.append("needs compute capability 8.0 or newer for bfloat16")
    if request.head_dim % 8:
        reasons.append(f"needs a head dimension that is a multiple of 8, not {request.head_dim}")
    if request.softcap:
        reasons.append("does not cap scores")
    return reasons


@torch.compiler.assume_constant_result  # type: ignore[untyped-decorator]
@cache
def _missing_here() -> list[str]:
    if torch.version.hip:
        return ["supports a window only on NVIDIA GPUs"]
    for name, needed in (
        ("_efficient_attention_forward", _FORWARD),
        ("_efficient_attention_backward", _BACKWARD),
    ):
        operator = getattr(torch.ops.aten, name, None)
        if operator is None:
            return [f"this torch has no {name}"]
        missing = needed - {argument.name for argument in operator.default._schema.arguments}
        if missing:
            return [f"{name} of this torch has no {', '.join(sorted(missing))}"]
    return []


def run(q: Tensor, k: Tensor, v: Tensor, options: Options) -> Tensor:
    """Attention by the memory-efficient kernels; see `Backend.run`. Grouped key heads are repeated.

    Both passes align the causal mask at the last query, but the backward pass aligns the window at the first
    (kernel_backward.h of torch 2.13). So where gradients are needed, rows of zeros in front make as many queries as keys.
    Their outputs are not used, so they have no gradient.
    """
    past = k.shape[2] - q.shape[2]
    if past and options.window is not None and torch.is_grad_enabled():
        return run(F.pad(q, (0, 0, past, 0)), k, v, options)[:, :, past:]
    groups = q.shape[1] // k.shape[1]
    if groups > 1:
        k, v = k.repeat_interleave(groups, dim=1), v.repeat_interleave(groups, dim=1)
    longest = (q.shape[2], k.shape[2])
    limits: tuple[Tensor | None, Tensor | None] = (None, None)
    if options.document_ids is None:
        q_bshd, k_bshd, v_bshd = (x.transpose(1, 2) for x in (q, k, v))
    else:
        packing = pack(options.document_ids, q.shape[2])
        q_bshd, k_bshd, v_bshd = (
            x[None] for x in (lay_out(q), lay_out(k)[packing.keys], lay_out(v)[packing.keys])
        )
        lengths = (packing.query_lengths, packing.key_lengths)
        longest = (max(lengths[0]), max(lengths[1]))
        limits = (offsets(lengths[0], q.device), offsets(lengths[1], q.device))
    aligned = (x if x.stride(-2) % 8 == 0 else x.contiguous() for x in (q_bshd, k_bshd, v_bshd))
    output: Tensor = _forward(*aligned, *limits, *longest, options.dropout, options.scale, options.window)[0]
    return output.reshape(q.shape[0], q.shape[2], *output.shape[2:]).transpose(1, 2)


_OPTIONS = "Tensor? starts_q, Tensor? starts_k, int longest_q, int longest_k, float dropout, float scale, int? window"


@torch.library.custom_op(
    "aios::efficient_attention",
    mutates_args=(),
    schema=f"(Tensor q, Tensor k, Tensor v, {_OPTIONS}) -> (Tensor, Tensor, Tensor, Tensor)",
)
def _forward(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    starts_q: Tensor | None,
    starts_k: Tensor | None,
    longest_q: int,
    longest_k: int,
    dropout: float,
    scale: float,
    window: int | None,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Output (B, S_q, H, D), log-sum-exp of the scores, and the seed and offset of the dropout."""
    output, logsumexp, seed, offset, *_ = torch.ops.aten._efficient_attention_forward(
        q,
        k,
        v,
        None,
        starts_q,
        starts_k,
        longest_q,
        longest_k,
        dropout,
        _FROM_BOTTOM_RIGHT,
        compute_log_sumexp=True,
        scale=scale,
        window_size=window,
    )
    return output, logsumexp, seed, offset


@torch.library.custom_op(
    "aios::efficient_attention_backward",
    mutates_args=(),
    schema="(Tensor grad, Tensor output, Tensor logsumexp, Tensor seed, Tensor offset, Tensor q, Tensor k, Tensor v, "
    f"{_OPTIONS}) -> (Tensor, Tensor, Tensor)",
)
def _backward(
    grad: Tensor,
    output: Tensor,
    logsumexp: Tensor,
    seed: Tensor,
    offset: Tensor,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    starts_q: Tensor | None,
    starts_k: Tensor | None,
    longest_q: int,
    longest_k: int,
    dropout: float,
    scale: float,
    window: int | None,
) -> tuple[Tensor, Tensor, Tensor]:
    """dq, dk and dv."""
    dq, dk, dv, _ = torch.ops.aten._efficient_attention_backward(
        grad,
        q,
        k,
        v,
        None,
        output,
        starts_q,
        starts_k,
        longest_q,
        longest_k,
        logsumexp,
        dropout,
        seed,
        offset,
        _FROM_BOTTOM_RIGHT,
        False,
        scale=scale,
        window_size=window,
    )
    return dq, dk, dv


@_forward.register_fake
def _(
    q: Tensor, k: Tensor, v: Tensor, starts_q: Tensor | None, starts_k: Tensor | None, longest_q: int, *_: Any
) -> tuple[Tensor, ...]:
    parts = q.shape[0] if starts_q is None else starts_q.shape[0] - 1
    logsumexp = q.new_empty(parts, q.shape[2], -(-longest_q // 32) * 32, dtype=torch.float32)
    seed, offset = (torch.empty((), dtype=torch.int64, device="cpu") for _ in range(2))
    return q.new_empty(q.shape), logsumexp, seed, offset


@_backward.register_fake
def _(*inputs: Any) -> tuple[Tensor, ...]:
    return tuple(x.new_empty(x.shape) for x in inputs[5:8])


def _save(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    ctx.save_for_backward(*output, *inputs[:5])
    ctx.options = inputs[5:]


def _gradients(ctx: Any, grad: Tensor, *_: Any) -> tuple[Tensor | None, ...]:
    return (*_backward(grad, *ctx.saved_tensors, *ctx.options), *[None] * 7)


_forward.register_autograd(_gradients, setup_context=_save)


EFFICIENT = Implementation("efficient", run, reasons_against, contiguous_documents=True)
