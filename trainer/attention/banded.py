"""Causal attention in O(S * W) time and memory, forward and backward, on any device.

Queries are processed one block at a time, each against the keys that its window and its documents can reach, as plain
matrix products. The backward pass recomputes the weights of a block instead of storing them. All blocks together are one
operator for torch: autograd over slices would allocate a full-size gradient for every block, and a compiler would unroll
the loop.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from trainer.attention.banded_weights import Gradient, Weights
from trainer.attention.blocks import parts
from trainer.attention.request import Options


def _dropout_factors(weights: Tensor, dropout: float, generator: torch.Generator) -> Tensor:
    """0 for dropped weights, 1 / (1 - dropout) for the others."""
    return torch.empty_like(weights).bernoulli_(1 - dropout, generator=generator).div_(1 - dropout)


def _generator(seed: Tensor | None, device: torch.device) -> torch.Generator:
    generator = torch.Generator(device)
    return generator if seed is None else generator.manual_seed(int(seed))


def forward(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    document_ids: Tensor | None,
    seed: Tensor | None,
    window: int,
    scale: float,
    dropout: float,
    softcap: float | None,
) -> Tensor:
    """The output. seed: () int64, of the dropout; None without dropout."""
    output = torch.empty_like(q, memory_format=torch.contiguous_format)
    generator = _generator(seed, q.device)
    for rows, heads, key_heads in parts(q, k, window):
        q_part, out_part = q[rows, heads], output[rows, heads]
        k_part, v_part = k[rows, key_heads], v[rows, key_heads]
        ids = None if document_ids is None else document_ids[rows]
        weights = Weights(q_part, k_part, ids, window, scale, softcap)
        for block in weights.blocks:
            k_pcd, v_pcd = weights.keys(k_part, block), weights.keys(v_part, block)
            p_prc = weights.compute(block, weights.stack(q_part, block), k_pcd)
            if dropout:
                p_prc *= _dropout_factors(p_prc, dropout, generator)
            here = out_part[:, :, block.first : block.last]
            here.copy_(weights.product(p_prc, v_pcd).view(here.shape))
    return output


def backward(
    grad: Tensor,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    document_ids: Tensor | None,
    seed: Tensor | None,
    window: int,
    scale: float,
    dropout: float,
    softcap: float | None,
) -> tuple[Tensor, Tensor, Tensor]:
    """dq, dk and dv from the gradient of the output of `forward`."""
    dq = torch.empty_like(q, memory_format=torch.contiguous_format)
    dk, dv = (torch.zeros_like(x, memory_format=torch.contiguous_format) for x in (k, v))
    generator = _generator(seed, q.device)
    with torch.autocast(grad.device.type, enabled=False):  # the backward pass may run inside one
        for rows, heads, key_heads in parts(q, k, window):
            q_part, grad_part, dq_part = q[rows, heads], grad[rows, heads], dq[rows, heads]
            k_part, v_part = k[rows, key_heads], v[rows, key_heads]
            dk_part, dv_part = Gradient(dk[rows, key_heads]), Gradient(dv[rows, key_heads])
            ids = None if document_ids is None else document_ids[rows]
            weights = Weights(q_part, k_part, ids, window, scale, softcap)
            for block in weights.blocks:
                k_pcd, v_pcd = weights.keys(k_part, block), weights.keys(v_part, block)
                q_prd, grad_prd = weights.stack(q_part, block), weights.stack(grad_part, block)
                p_prc = weights.compute(block, q_prd, k_pcd)
                dp_prc = weights.dp(grad_prd, v_pcd)
                used = p_prc
                if dropout:
                    factors = _dropout_factors(p_prc, dropout, generator)
                    used = p_prc * factors
                    dp_prc *= factors
                dv_part.add(block, weights.rounded(used), grad_prd)
                ds_prc = weights.ds(dp_prc, p_prc)
                here = dq_part[:, :, block.first : block.last]
                torch.mul(torch.bmm(ds_prc, k_pcd).view(here.shape), weights.scale_after, out=here)
                dk_part.add(block, ds_prc, q_prd, weights.scale_after)
    return dq, dk, dv


_OPTIONS = "Tensor? document_ids, Tensor? seed, int window, float scale, float dropout, float? softcap"
_forward = torch.library.custom_op(
    "aios::banded_attention",
    forward,
    mutates_args=(),
    schema=f"(Tensor q, Tensor k, Tensor v, {_OPTIONS}) -> Tensor",
)
_backward = torch.library.custom_op(
    "aios::banded_attention_backward",
    backward,
    mutates_args=(),
    schema=f"(Tensor grad, Tensor q, Tensor k, Tensor v, {_OPTIONS}) -> (Tensor, Tensor, Tensor)",
)


@_forward.register_fake
def _(q: Tensor, *_: Any) -> Tensor:
    return torch.empty_like(q, memory_format=torch.contiguous_format)


@_backward.register_fake
def _(grad: Tensor, q: Tensor, k: Tensor, v: Tensor, *_: Any) -> tuple[Tensor, ...]:
    return tuple(torch.empty_like(x, memory_format=torch.contiguous_format) for x in (q, k, v))


def _save(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    ctx.save_for_backward(*inputs[:5])
    ctx.options = inputs[5:]


def _gradients(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    dq, dk, dv = _backward(grad, *ctx.saved_tensors, *ctx.options)
    return dq, dk, dv, *[None] * 6


_forward.register_autograd(_gradients, setup_context=_save)


def banded(q: Tensor, k: Tensor, v: Tensor, options: Options) -> Tensor:
    """Attention in O(S * W); see `backend.Backend.run`."""
    dtype = q.dtype
    if dtype == torch.float16 and q.device.type == "cpu":  # fp16 products are fifteen times slower on a CPU
        q, k, v = q.float(), k.float(), v.float()
    window = k.shape[2] if options.window is None else options.window
    seed = torch.randint(2**62, ()) if options.dropout else None
    settings = (window, options.scale, options.dropout, options.softcap)
    output: Tensor = _forward(q, k, v, options.document_ids, seed, *settings)
    return output.to(dtype)
