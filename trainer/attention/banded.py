"""Causal attention in O(S * W) time and memory, forward and backward, on any device.

Queries are taken a block at a time, each against the keys that its window and its documents can reach, as plain matrix
products. The backward pass computes the weights of a block again instead of keeping them. It is a custom autograd
function because autograd over slices would allocate a gradient of full size for every block.

Scores, weights and sums over blocks are at least fp32: scores that are rounded to half precision cost two to six times
the error of torch's own kernels, and overflow in fp16.

Dimensions: P pairs of batch row and key head, R rows (queries of all heads that share the key head), C columns (keys).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from trainer.attention.packing import reach, starts


@dataclass(frozen=True)
class _Block:
    """Queries `first:last`, the keys `low:high` that at least one of them sees, and whether documents meet there."""

    first: int
    last: int
    low: int
    high: int
    mixed: bool


def _blocks(
    query_length: int, key_length: int, window: int, rows: int, document_ids: Tensor | None
) -> Iterator[_Block]:
    past = key_length - query_length
    begins, runs = (
        [0] * key_length,
        [0] * key_length,
    )  # of each key: where its document begins; its run's number
    if document_ids is not None:
        begins = reach(document_ids).amin(0).tolist()
        runs = starts(document_ids).any(0).cumsum(0).tolist()
    for first in range(0, query_length, rows):
        last = min(first + rows, query_length)
        high = past + last
        low = max(past + first - window + 1, min(begins[past + first : high]))
        yield _Block(first, last, low, high, mixed=runs[low] != runs[high - 1])


def _rows(window: int, device: torch.device) -> int:
    """How many queries a block has: enough to keep the products efficient, few enough to waste little at the edges."""
    return max(64, min(128 if device.type == "cpu" else 1024, window // 2))


class _Weights:
    """The attention weights of one block after another; two passes over the blocks give the same weights."""

    def __init__(
        self,
        q: Tensor,
        k: Tensor,
        document_ids: Tensor | None,
        window: int,
        scale: float,
        dropout: float,
        seed: int,
    ) -> None:
        self.key_heads, self.groups = k.shape[1], q.shape[1] // k.shape[1]
        self.scale, self.dropout, self.document_ids = scale, dropout, document_ids
        self.exact = torch.promote_types(q.dtype, torch.float32)
        self.generator = torch.Generator(q.device).manual_seed(seed)
        rows = min(_rows(window, q.device), q.shape[2])
        self.blocks = tuple(_blocks(q.shape[2], k.shape[2], window, rows, document_ids))
        # What a block adds to its scores: for its first rows, and for keys up to the last that a full block sees.
        self.end = k.shape[2] - q.shape[2] + rows
        width = max(self.end + block.first - block.low for block in self.blocks)
        row = torch.arange(width - rows, width, device=q.device)[:, None]
        distance = row - torch.arange(width, device=q.device)
        hidden = (distance < 0) | (distance >= window)
        self.bias = torch.zeros(hidden.shape, dtype=self.exact, device=q.device)
        self.bias.masked_fill_(hidden, -torch.inf)

    def stack(self, x: Tensor, block: _Block) -> Tensor:
        """The block's rows of x (B, H, S_q, D), as (P, R, D)."""
        rows = x[:, :, block.first : block.last]
        return rows.reshape(x.shape[0] * self.key_heads, -1, x.shape[3])

    def of(self, block: _Block, q_prd: Tensor, k_pcd: Tensor) -> Tensor:
        """softmax(scale * q k^T + mask), (P, R, C), at least in fp32."""
        count = block.last - block.first
        left = self.bias.shape[1] - (self.end + block.first - block.low)
        bias = self.bias[:count, left : left + block.high - block.low].repeat(self.groups, 1)
        scores = torch.baddbmm(bias, q_prd.to(self.exact), k_pcd.to(self.exact).mT, alpha=self.scale)
        if self.document_ids is not None and block.mixed:
            key_ids = self.document_ids[:, block.low : block.high]
            other = key_ids[:, -count:, None] != key_ids[:, None, :]
            by_head = scores.view(len(key_ids), -1, count, scores.shape[2])
            by_head.masked_fill_(other[:, None], -torch.inf)
        return torch.softmax(scores, dim=-1)

    def kept(self, weights: Tensor) -> Tensor:
        """What dropout multiplies the weights with; to be called once for each block, in order."""
        kept = torch.empty_like(weights).bernoulli_(1 - self.dropout, generator=self.generator)
        return kept.div_(1 - self.dropout)


class _Banded(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        document_ids: Tensor | None,
        window: int,
        scale: float,
        dropout: float,
    ) -> Tensor:
        ctx.options = (window, scale, dropout, int(torch.randint(2**62, ())) if dropout else 0)
        weights = _Weights(q, k, document_ids, *ctx.options)
        k_psd, v_psd = k.flatten(0, 1), v.flatten(0, 1)
        output = torch.empty_like(q, memory_format=torch.contiguous_format)
        for block in weights.blocks:
            keys = slice(block.low, block.high)
            p_prc = weights.of(block, weights.stack(q, block), k_psd[:, keys])
            if dropout:
                p_prc *= weights.kept(p_prc)
            rows = torch.bmm(p_prc.to(q.dtype), v_psd[:, keys])
            output[:, :, block.first : block.last] = rows.view(*q.shape[:2], -1, q.shape[3])
        ctx.save_for_backward(q, k, v, document_ids)
        return output

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        with torch.autocast(grad.device.type, enabled=False):  # may be called inside one
            return _gradients(ctx, grad)


def _gradients(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    q, k, v, document_ids = ctx.saved_tensors
    weights = _Weights(q, k, document_ids, *ctx.options)
    k_psd, v_psd = k.flatten(0, 1), v.flatten(0, 1)
    exact = weights.exact
    dq = torch.empty_like(q, memory_format=torch.contiguous_format)
    dk_psd, dv_psd = (torch.zeros(k_psd.shape, dtype=exact, device=k.device) for _ in range(2))
    for block in weights.blocks:
        keys = slice(block.low, block.high)
        q_prd, grad_prd = weights.stack(q, block), weights.stack(grad, block)
        p_prc = weights.of(block, q_prd, k_psd[:, keys])
        dp_prc = torch.bmm(grad_prd.to(exact), v_psd[:, keys].to(exact).mT)
        used = p_prc
        if weights.dropout:
            kept = weights.kept(p_prc)
            used = p_prc * kept
            dp_prc *= kept
        dv_psd[:, keys] += torch.bmm(used.to(q.dtype).mT, grad_prd)
        # The softmax's gradient: p * (dp - sum(p * dp)), from the exact weights and not from the rounded output.
        ds_prc = dp_prc.mul_(p_prc)
        ds_prc.addcmul_(p_prc, ds_prc.sum(-1, keepdim=True), value=-1)
        ds_prc = ds_prc.mul_(weights.scale).to(q.dtype)
        dq[:, :, block.first : block.last] = torch.bmm(ds_prc, k_psd[:, keys]).view(
            *q.shape[:2], -1, q.shape[3]
        )
        dk_psd[:, keys] += torch.bmm(ds_prc.mT, q_prd)
    dk, dv = dk_psd.to(k.dtype).view(k.shape), dv_psd.to(v.dtype).view(v.shape)
    return dq, dk, dv, None, None, None, None


def banded(
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
    dtype = q.dtype
    if dtype == torch.float16 and q.device.type == "cpu":  # whose products are fifteen times slower there
        q, k, v = q.float(), k.float(), v.float()
    output: Tensor = _Banded.apply(  # type: ignore[no-untyped-call]
        q, k, v, document_ids, k.shape[2] if window is None else window, scale, dropout
    )
    return output.to(dtype)
