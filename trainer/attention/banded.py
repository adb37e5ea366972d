"""Causal attention in O(S * W) time and memory, forward and backward, on any device.

Queries are taken a block at a time, each against the keys that its window and its documents can reach, as plain matrix
products. The backward pass computes the weights of a block again instead of keeping them. To torch the whole is one
operator: autograd over slices would allocate a gradient of full size for every block, and a compiler would unroll them.

Scores, weights and sums over blocks are at least fp32: scores that are rounded to half precision cost two to six times
the error of torch's own kernels, and overflow in fp16.

Dimensions: P pairs of batch row and key head, R rows (queries of all heads that share the key head), C columns (keys).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from trainer.attention.packing import reach, starts
from trainer.attention.request import Options


@dataclass(frozen=True)
class _Block:
    """Queries `first:last`, the keys `low:high` that at least one of them sees, and whether documents meet there.

    No later block reaches a key before `done`.
    """

    first: int
    last: int
    low: int
    high: int
    done: int
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
    firsts = range(0, query_length, rows)
    lows = [
        max(past + first - window + 1, min(begins[past + first : past + min(first + rows, query_length)]))
        for first in firsts
    ]
    done = [key_length]
    for low in reversed(lows[1:]):
        done.append(min(low, done[-1]))
    for first, low, end in zip(firsts, lows, reversed(done), strict=True):
        last = min(first + rows, query_length)
        high = past + last
        yield _Block(first, last, low, high, min(end, high), mixed=runs[low] != runs[high - 1])


def _rows(window: int, q: Tensor) -> int:
    """How many queries a block has: enough to keep the products efficient, few enough to waste little at the edges."""
    if q.device.type == "cpu":
        return 64 if q.dtype.itemsize >= 4 else 128
    return max(64, min(1024, window // 2))


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
        seed: Tensor | None,
    ) -> None:
        self.pairs, self.groups = k.shape[0] * k.shape[1], q.shape[1] // k.shape[1]
        self.scale, self.dropout, self.document_ids = scale, dropout, document_ids
        self.exact = torch.promote_types(q.dtype, torch.float32)
        self.generator = torch.Generator(q.device)
        if seed is not None:
            self.generator.manual_seed(int(seed))
        rows = min(_rows(window, q), q.shape[2])
        self.blocks = tuple(_blocks(q.shape[2], k.shape[2], window, rows, document_ids))
        # What a block adds to its scores: for its first rows, and for keys up to the last that a full block sees.
        self.end = k.shape[2] - q.shape[2] + rows
        width = max(self.end + block.first - block.low for block in self.blocks)
        row = torch.arange(width - rows, width, device=q.device)[:, None]
        distance = row - torch.arange(width, device=q.device)
        hidden = (distance < 0) | (distance >= window)
        self.bias = torch.zeros(hidden.shape, dtype=self.exact, device=q.device)
        self.bias.masked_fill_(hidden, -torch.inf)
        # Room for tables (P, R, C), used again by every block.
        size = self.pairs * self.groups * rows * width
        self._exact = torch.empty(2, size, dtype=self.exact, device=q.device)
        self._rounded = torch.empty(1, size, dtype=q.dtype, device=q.device)

    def stack(self, x: Tensor, block: _Block) -> Tensor:
        """The block's rows of x (B, H, S_q, D), as (P, R, D)."""
        return self._stacked(x[:, :, block.first : block.last])

    def keys(self, x: Tensor, block: _Block) -> Tensor:
        """The block's rows of x (B, H_kv, S_k, D), as (P, C, D)."""
        return self._stacked(x[:, :, block.low : block.high])

    def _stacked(self, x: Tensor) -> Tensor:
        x = x.reshape(self.pairs, -1, x.shape[3])
        return x if x.dtype == self.exact else x.contiguous()  # products of half precision are slow with gaps

    def room(self, number: int, rows: Tensor, columns: Tensor, exact: bool = True) -> Tensor:
        """One of two tables (P, R, C) in either precision, with whatever is in it."""
        shape = (self.pairs, rows.shape[1], columns.shape[1])
        store = (self._exact if exact else self._rounded)[number]
        return store[: shape[0] * shape[1] * shape[2]].view(shape)

    def of(self, block: _Block, q_prd: Tensor, k_pcd: Tensor) -> Tensor:
        """softmax(scale * q k^T + mask), (P, R, C), at least in fp32."""
        count = block.last - block.first
        left = self.bias.shape[1] - (self.end + block.first - block.low)
        bias = self.bias[:count, left : left + block.high - block.low].repeat(self.groups, 1)
        scores, weights = (self.room(number, q_prd, k_pcd) for number in (0, 1))
        if q_prd.dtype == self.exact:
            torch.baddbmm(bias, q_prd, k_pcd.mT, alpha=self.scale, out=scores)
        else:
            high = self.room(0, q_prd, k_pcd, exact=False)
            scores.copy_(torch.bmm(q_prd, k_pcd.mT, out=high))
            scores += high.baddbmm_(q_prd, k_pcd.mT, beta=-1)
            torch.add(bias, scores, alpha=self.scale, out=scores)
        if self.document_ids is not None and block.mixed:
            key_ids = self.document_ids[:, block.low : block.high]
            other = key_ids[:, -count:, None] != key_ids[:, None, :]
            by_head = scores.view(len(key_ids), -1, count, scores.shape[2])
            by_head.masked_fill_(other[:, None], -torch.inf)
        return torch.softmax(scores, dim=-1, out=weights)

    def product(self, p_prc: Tensor, v_pcd: Tensor) -> Tensor:
        """p v, at least in fp32; weights are rounded to the dtype of v on the way."""
        if p_prc.dtype == v_pcd.dtype:
            return torch.bmm(p_prc, v_pcd)
        # The largest weight of a row is made 1, which is exact: else it costs a fifth to a third of the accuracy.
        largest = p_prc.amax(-1, keepdim=True).clamp_min_(
            torch.finfo(self.exact).tiny
        )  # 0 where all are dropped
        p_prc = self.rounded(p_prc.div_(largest))
        high = torch.bmm(p_prc, v_pcd)
        return (torch.baddbmm(high, p_prc, v_pcd, beta=-1) + high.to(self.exact)) * largest

    def rounded(self, table: Tensor) -> Tensor:
        """A table in the inputs' dtype."""
        store = self._rounded[0]
        return table if table.dtype == store.dtype else store[: table.numel()].view(table.shape).copy_(table)

    def dp(self, grad_prd: Tensor, v_pcd: Tensor) -> Tensor:
        """grad v^T, (P, R, C), at least in fp32."""
        dp = self.room(0, grad_prd, v_pcd)
        if dp.dtype == v_pcd.dtype:
            return torch.bmm(grad_prd, v_pcd.mT, out=dp)
        return dp.copy_(torch.bmm(grad_prd, v_pcd.mT, out=self.room(0, grad_prd, v_pcd, exact=False)))

    def kept(self, weights: Tensor) -> Tensor:
        """What dropout multiplies the weights with; to be called once for each block, in order."""
        kept = torch.empty_like(weights).bernoulli_(1 - self.dropout, generator=self.generator)
        return kept.div_(1 - self.dropout)


class _Gradient:
    """The gradient of keys or values: adds up what blocks give, at least in fp32, and writes down what is complete."""

    def __init__(self, like: Tensor) -> None:
        self.total = torch.zeros_like(like, memory_format=torch.contiguous_format)
        self._total_psd = self.total.flatten(0, 1)
        self._exact = torch.promote_types(like.dtype, torch.float32)
        self._open = self._total_psd[:, :0].to(self._exact)  # sums of the keys from `_first` on
        self._first = 0

    def add(self, block: _Block, part_pcd: Tensor) -> None:
        """The block's share, for its keys in order."""
        part = F.pad(part_pcd.to(self._exact), (0, 0, block.low - self._first, 0))
        part[:, : self._open.shape[1]] += self._open
        self._total_psd[:, self._first : block.done] = part[:, : block.done - self._first]
        self._open, self._first = part[:, block.done - self._first :], block.done


def forward(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    document_ids: Tensor | None,
    seed: Tensor | None,
    window: int,
    scale: float,
    dropout: float,
) -> Tensor:
    """The output. seed () int64: of the dropped weights; None without dropout."""
    weights = _Weights(q, k, document_ids, window, scale, dropout, seed)
    output = torch.empty_like(q, memory_format=torch.contiguous_format)
    for block in weights.blocks:
        k_pcd, v_pcd = weights.keys(k, block), weights.keys(v, block)
        p_prc = weights.of(block, weights.stack(q, block), k_pcd)
        if dropout:
            p_prc *= weights.kept(p_prc)
        rows = output[:, :, block.first : block.last]
        rows.copy_(weights.product(p_prc, v_pcd).view(rows.shape))
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
) -> tuple[Tensor, Tensor, Tensor]:
    """dq, dk and dv for the gradient of `forward`'s output."""
    with torch.autocast(grad.device.type, enabled=False):  # may be called inside one
        weights = _Weights(q, k, document_ids, window, scale, dropout, seed)
        dq = torch.empty_like(q, memory_format=torch.contiguous_format)
        dk, dv = _Gradient(k), _Gradient(v)
        for block in weights.blocks:
            k_pcd, v_pcd = weights.keys(k, block), weights.keys(v, block)
            q_prd, grad_prd = weights.stack(q, block), weights.stack(grad, block)
            p_prc = weights.of(block, q_prd, k_pcd)
            dp_prc = weights.dp(grad_prd, v_pcd)
            used = p_prc
            if dropout:
                kept = weights.kept(p_prc)
                used = p_prc * kept
                dp_prc *= kept
            dv.add(block, torch.bmm(weights.rounded(used).mT, grad_prd))
            # From the exact weights, and not from the rounded output.
            ds_prc = torch._softmax_backward_data(dp_prc, p_prc, -1, p_prc.dtype, grad_input=dp_prc)
            ds_prc = weights.rounded(ds_prc.mul_(scale))
            rows = dq[:, :, block.first : block.last]
            rows.copy_(torch.bmm(ds_prc, k_pcd).view(rows.shape))
            dk.add(block, torch.bmm(ds_prc.mT, q_prd))
    return dq, dk.total, dv.total


_OPTIONS = "Tensor? document_ids, Tensor? seed, int window, float scale, float dropout"
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


def _keep(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    *tensors, ctx.window, ctx.scale, ctx.dropout = inputs
    ctx.save_for_backward(*tensors)


def _gradients(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    dq, dk, dv = _backward(grad, *ctx.saved_tensors, ctx.window, ctx.scale, ctx.dropout)
    return dq, dk, dv, None, None, None, None, None


_forward.register_autograd(_gradients, setup_context=_keep)


def banded(q: Tensor, k: Tensor, v: Tensor, options: Options) -> Tensor:
    """Attention of q (B, H, S_q, D) over k and v (B, H_kv, S_k, D); see `attention`. Keys out of reach are cut."""
    dtype = q.dtype
    if dtype == torch.float16 and q.device.type == "cpu":  # whose products are fifteen times slower there
        q, k, v = q.float(), k.float(), v.float()
    window = k.shape[2] if options.window is None else options.window
    seed = torch.randint(2**62, ()) if options.dropout else None
    output: Tensor = _forward(q, k, v, options.document_ids, seed, window, options.scale, options.dropout)
    return output.to(dtype)
