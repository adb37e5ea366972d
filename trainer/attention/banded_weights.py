"""The attention weights of `banded` and their gradients, one block of queries at a time.

Scores, weights and sums over blocks are at least fp32: with scores rounded to half precision, errors are two to six times
those of torch's own kernels, and fp16 overflows.

Dimensions: P pairs of batch row and key head, R rows (queries of all heads that share the key head), C columns (keys).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from trainer.attention.blocks import Block, blocks, rows_per_block


class Weights:
    """The attention weights, one block at a time. Forward and backward pass compute the same weights."""

    def __init__(
        self,
        q: Tensor,
        k: Tensor,
        document_ids: Tensor | None,
        window: int,
        scale: float,
        softcap: float | None,
    ) -> None:
        self.pairs, self.groups = k.shape[0] * k.shape[1], q.shape[1] // k.shape[1]
        self.scale, self.softcap, self.document_ids = scale, softcap, document_ids
        self.exact = torch.promote_types(q.dtype, torch.float32)
        # Scaling the products with `ds` takes less time than scaling `ds`, which is larger. In half precision, `ds` could
        # overflow without its scale.
        self.scale_after = scale if q.dtype == self.exact else 1.0
        rows = rows_per_block(q, window)
        # In half precision a CPU compiles code for each shape of a product and keeps it for the life of the process: 0.5 MB.
        bucketed = q.device.type == "cpu" and q.dtype != self.exact
        self.blocks = blocks(q.shape[2], k.shape[2], window, rows, document_ids, bucketed)
        # The bias of every block is a slice of one table, made for the block that reaches back furthest.
        self.past = k.shape[2] - q.shape[2]
        self.furthest = max(self._back(block) for block in self.blocks)
        columns = max(self.furthest - self._back(block) + block.high - block.low for block in self.blocks)
        distance = torch.arange(self.furthest, self.furthest + rows, device=q.device)[:, None]
        distance = distance - torch.arange(columns, device=q.device)
        self.bias = torch.zeros(distance.shape, dtype=self.exact, device=q.device)
        self.bias.masked_fill_((distance < 0) | (distance >= window), -torch.inf)
        # The bias of the last block, after its place in the table: most blocks have the bias of the one before.
        self._last_bias: tuple[tuple[int, int, int], Tensor] | None = None
        # Buffers for tables (P, R, C), reused by every block.
        size = self.pairs * self.groups * rows * max(block.high - block.low for block in self.blocks)
        self._exact = torch.empty(2 if softcap is None else 3, size, dtype=self.exact, device=q.device)
        self._rounded = torch.empty(size if q.dtype != self.exact else 0, dtype=q.dtype, device=q.device)

    def _back(self, block: Block) -> int:
        """The distance from the block's first key to its first query."""
        return self.past + block.first - block.low

    def stack(self, x: Tensor, block: Block) -> Tensor:
        """The block's rows of x (B, H, S_q, D), as (P, R, D)."""
        return self._stacked(x[:, :, block.first : block.last])

    def keys(self, x: Tensor, block: Block) -> Tensor:
        """The block's rows of x (B, H_kv, S_k, D), as (P, C, D)."""
        return self._stacked(x[:, :, block.low : block.high])

    def _stacked(self, x: Tensor) -> Tensor:
        x = x.reshape(self.pairs, -1, x.shape[3])
        return x if x.dtype == self.exact else x.contiguous()  # half-precision products are slow with strides

    def _table(self, buffer: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
        """A table (P, R, C) in one of the buffers, uninitialized."""
        shape = (self.pairs, rows.shape[1], columns.shape[1])
        return buffer[: shape[0] * shape[1] * shape[2]].view(shape)

    def compute(self, block: Block, q_prd: Tensor, k_pcd: Tensor) -> Tensor:
        """softmax(scores + mask), (P, R, C), in at least fp32."""
        count = block.last - block.first
        scores = self._scores(q_prd, k_pcd, self._bias(block))
        if self.document_ids is not None and block.mixed:
            query_ids = self.document_ids[:, self.past + block.first : block.seen, None]
            other = query_ids != self.document_ids[:, None, block.low : block.high]
            by_head = scores.view(len(other), -1, count, scores.shape[2])
            by_head.masked_fill_(other[:, None], -torch.inf)
        return torch.softmax(scores, dim=-1, out=self._table(self._exact[1], q_prd, k_pcd))

    def _bias(self, block: Block) -> Tensor:
        """The block's bias (R, C)."""
        count, left = block.last - block.first, self.furthest - self._back(block)
        place = count, left, left + block.high - block.low
        if self._last_bias is None or self._last_bias[0] != place:
            bias = self.bias[:count, left : place[2]]
            self._last_bias = place, bias.repeat(self.groups, 1) if self.groups > 1 else bias
        return self._last_bias[1]

    def _scores(self, q_prd: Tensor, k_pcd: Tensor, bias: Tensor) -> Tensor:
        scores = self._table(self._exact[0], q_prd, k_pcd)
        if scores.dtype == q_prd.dtype:
            if self.softcap is None:
                return torch.baddbmm(bias, q_prd, k_pcd.mT, alpha=self.scale, out=scores)
            torch.bmm(q_prd, k_pcd.mT, out=scores)
        else:
            high = self._table(self._rounded, q_prd, k_pcd)
            scores.copy_(torch.bmm(q_prd, k_pcd.mT, out=high))
            scores += high.baddbmm_(q_prd, k_pcd.mT, beta=-1)
            if self.softcap is None:
                return torch.add(bias, scores, alpha=self.scale, out=scores)
        tanh = scores.mul_(self.scale / self.softcap).tanh_()
        torch.square(tanh, out=self._table(self._exact[2], q_prd, k_pcd))
        return torch.add(bias, tanh, alpha=self.softcap, out=scores)

    def product(self, p_prc: Tensor, v_pcd: Tensor) -> Tensor:
        """p v, in at least fp32. The weights are rounded to the dtype of v."""
        if p_prc.dtype == v_pcd.dtype:
            return torch.bmm(p_prc, v_pcd)
        # Scale the largest weight of a row to 1, which half precision represents exactly; otherwise the error grows by a
        # fifth to a third.
        largest = p_prc.amax(-1, keepdim=True)
        largest.clamp_min_(torch.finfo(self.exact).tiny)  # 0 if all are dropped
        p_prc = self.rounded(p_prc.div_(largest))
        high = torch.bmm(p_prc, v_pcd)
        return (torch.baddbmm(high, p_prc, v_pcd, beta=-1) + high.to(self.exact)) * largest

    def rounded(self, table: Tensor) -> Tensor:
        """A table in the inputs' dtype."""
        if self._rounded.dtype == table.dtype:
            return table
        return self._rounded[: table.numel()].view(table.shape).copy_(table)

    def dp(self, grad_prd: Tensor, v_pcd: Tensor) -> Tensor:
        """grad v^T, (P, R, C), in at least fp32."""
        dp = self._table(self._exact[0], grad_prd, v_pcd)
        if dp.dtype == v_pcd.dtype:
            return torch.bmm(grad_prd, v_pcd.mT, out=dp)
        return dp.copy_(torch.bmm(grad_prd, v_pcd.mT, out=self._table(self._rounded, grad_prd, v_pcd)))

    def ds(self, dp_prc: Tensor, p_prc: Tensor) -> Tensor:
        """The gradient of q k^T divided by `scale_after`, in the inputs' dtype, from that of the weights; in place."""
        # From the fp32 weights, not from the rounded output.
        ds = torch._softmax_backward_data(dp_prc, p_prc, -1, p_prc.dtype, grad_input=dp_prc)
        if self.softcap is not None:
            squares = self._exact[2, : ds.numel()].view(ds.shape)
            ds.addcmul_(ds, squares, value=-1)
        return self.rounded(ds if self.scale_after != 1 else ds.mul_(self.scale))


class Gradient:
    """The gradient of keys or values: the sum over blocks, in at least fp32.

    In half precision, sums are kept in fp32 until they are complete.

    Args:
        total: (B, H_kv, S_k, D) of zeros; the gradient is written here.
    """

    def __init__(self, total: Tensor) -> None:
        self._total_psd = total.flatten(0, 1)
        self._exact = torch.promote_types(total.dtype, torch.float32)
        self._pending = self._total_psd[:, :0].to(
            self._exact
        )  # incomplete sums, of the keys from `_first` on
        self._first = 0

    def add(self, block: Block, table_prc: Tensor, rows_prd: Tensor, scale: float = 1.0) -> None:
        """Add the block's part, for its keys in order: scale * table^T rows. In half precision the scale must be 1."""
        if table_prc.dtype == self._exact:
            table_prc = table_prc[:, :, : block.seen - block.low]
            self._total_psd[:, block.low : block.seen].baddbmm_(table_prc.mT, rows_prd, alpha=scale)
            return
        part = torch.bmm(table_prc.mT, rows_prd)[:, : block.seen - block.low].to(self._exact)
        if block.low > self._first:
            part = F.pad(part, (0, 0, block.low - self._first, 0))
        part[:, : self._pending.shape[1]] += self._pending
        self._total_psd[:, self._first : block.done] = part[:, : block.done - self._first]
        self._pending, self._first = part[:, block.done - self._first :], block.done
