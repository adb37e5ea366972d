"""Causal attention in O(S * W) time and memory, forward and backward, on any device.

Queries are taken a block at a time, each against the keys that its window can reach, as plain matrix products. The
backward pass computes the weights of a block again instead of keeping them. It is a custom autograd function because
autograd over slices would allocate a gradient of full size for every block.

Dimensions: P pairs of batch row and key head, R rows (queries of all heads that share the key head), C columns (keys).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


@dataclass(frozen=True)
class _Block:
    """Queries `first:last`, and the keys `low:high` that at least one of them sees."""

    first: int
    last: int
    low: int
    high: int


def _blocks(query_length: int, key_length: int, window: int, rows: int) -> Iterator[_Block]:
    past = key_length - query_length
    for first in range(0, query_length, rows):
        last = min(first + rows, query_length)
        yield _Block(first, last, max(0, past + first - window + 1), past + last)


def _rows(window: int, device: torch.device) -> int:
    """How many queries a block has: enough to keep the products efficient, few enough to waste little at the edges."""
    return max(64, min(128 if device.type == "cpu" else 1024, window // 2))


class _Weights:
    """The attention weights of one block after another; two passes over the blocks give the same weights."""

    def __init__(
        self,
        q: Tensor,
        k: Tensor,
        window: int,
        document_ids: Tensor | None,
        scale: float,
        dropout: float,
        seed: int,
    ) -> None:
        self.key_heads, self.groups = k.shape[1], q.shape[1] // k.shape[1]
        self.window, self.scale, self.dropout = window, scale, dropout
        self.past = k.shape[2] - q.shape[2]
        self.rows = min(_rows(window, q.device), q.shape[2])
        self.blocks = tuple(_blocks(q.shape[2], k.shape[2], window, self.rows))
        self.generator = torch.Generator(q.device).manual_seed(seed)
        row = torch.arange(self.rows, device=q.device)[:, None]
        column = torch.arange(self.rows + window - 1, device=q.device)
        hidden = (column < row) | (column >= row + window)  # column 0 is the first key that row 0 sees
        self.bias = torch.zeros(hidden.shape, dtype=q.dtype, device=q.device).masked_fill_(hidden, -torch.inf)
        self.document_ids = document_ids
        if document_ids is not None:
            changes = (document_ids[:, 1:] != document_ids[:, :-1]).any(0).cumsum(0)
            self.changes = [0, *changes.tolist()]

    def stack(self, x: Tensor, block: _Block) -> Tensor:
        """The block's rows of x (B, H, S_q, D), as (P, R, D)."""
        rows = x[:, :, block.first : block.last]
        return rows.reshape(x.shape[0] * self.key_heads, -1, x.shape[3])

    def of(self, block: _Block, q_prd: Tensor, k_pcd: Tensor) -> Tensor:
        """softmax(scale * q k^T + mask), (P, R, C), at least in fp32."""
        count = block.last - block.first
        cut = block.low - (self.past + block.first - self.window + 1)  # columns before the first key
        bias = self.bias[:count, cut : count + self.window - 1].repeat(self.groups, 1)
        scores = torch.baddbmm(bias, q_prd, k_pcd.mT, alpha=self.scale)
        if self.document_ids is not None and self.changes[block.low] != self.changes[block.high - 1]:
            key_ids = self.document_ids[:, block.low : block.high]
            other = key_ids[:, -count:, None] != key_ids[:, None, :]
            by_head = scores.view(len(key_ids), -1, count, scores.shape[2])
            by_head.masked_fill_(other[:, None], -torch.inf)
        return torch.softmax(scores, dim=-1, dtype=torch.promote_types(scores.dtype, torch.float32))

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
        weights = _Weights(q, k, ctx.options[0], document_ids, *ctx.options[1:])
        k_psd, v_psd = k.flatten(0, 1), v.flatten(0, 1)
        output = torch.empty_like(q, memory_format=torch.contiguous_format)
        for block in weights.blocks:
            reach = slice(block.low, block.high)
            p_prc = weights.of(block, weights.stack(q, block), k_psd[:, reach])
            if dropout:
                p_prc *= weights.kept(p_prc)
            rows = torch.bmm(p_prc.to(q.dtype), v_psd[:, reach])
            output[:, :, block.first : block.last] = rows.view(*q.shape[:2], -1, q.shape[3])
        ctx.save_for_backward(q, k, v, document_ids, output)
        return output

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        q, k, v, document_ids, output = ctx.saved_tensors
        weights = _Weights(q, k, ctx.options[0], document_ids, *ctx.options[1:])
        k_psd, v_psd = k.flatten(0, 1), v.flatten(0, 1)
        exact = torch.promote_types(q.dtype, torch.float32)  # a key's gradient is a sum over blocks
        dq = torch.empty_like(q, memory_format=torch.contiguous_format)
        dk_psd, dv_psd = (torch.zeros(k_psd.shape, dtype=exact, device=k.device) for _ in range(2))
        for block in weights.blocks:
            reach = slice(block.low, block.high)
            q_prd, grad_prd = weights.stack(q, block), weights.stack(grad, block)
            p_prc = weights.of(block, q_prd, k_psd[:, reach])
            dp_prc = torch.bmm(grad_prd, v_psd[:, reach].mT).to(exact)
            used = p_prc
            if weights.dropout:
                kept = weights.kept(p_prc)
                used = p_prc * kept
                dp_prc *= kept
            dv_psd[:, reach] += torch.bmm(used.to(q.dtype).mT, grad_prd)
            delta = (grad_prd.to(exact) * weights.stack(output, block)).sum(-1, keepdim=True)
            ds_prc = dp_prc.sub_(delta).mul_(p_prc).mul_(weights.scale).to(q.dtype)
            dq[:, :, block.first : block.last] = torch.bmm(ds_prc, k_psd[:, reach]).view(
                *q.shape[:2], -1, q.shape[3]
            )
            dk_psd[:, reach] += torch.bmm(ds_prc.mT, q_prd)
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
    output: Tensor = _Banded.apply(  # type: ignore[no-untyped-call]
        q, k, v, document_ids, k.shape[2] if window is None else window, scale, dropout
    )
    return output
