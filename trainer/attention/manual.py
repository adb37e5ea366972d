"""The readable reference: explicit matrix products, softmax in fp32, every step visible to autograd.

Queries are split into blocks, and keys unfolded into the part that each block can see, so time and memory are O(S * W).

Dimensions: B batch, H key heads, G query heads per key head, N blocks, R rows (queries) of a block,
C columns (keys) in reach of a block, D head dimension.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from trainer.attention.backend import Backend, no_limits
from trainer.attention.packing import reach
from trainer.attention.request import Options


def run(q: Tensor, k: Tensor, v: Tensor, options: Options) -> Tensor:
    """Attention of q (B, H * G, S_q, D) over k and v (B, H, S_k, D); see `Backend.run`."""
    window, document_ids = options.window, options.document_ids
    key_heads, query_length, key_length = k.shape[1], q.shape[2], k.shape[2]
    past = key_length - query_length  # keys before the first query
    if document_ids is not None:
        position = torch.arange(key_length, device=document_ids.device)
        longest = int((position - reach(document_ids)).max()) + 1  # no query sees keys further back
        window = longest if window is None else min(window, longest)
    rows = query_length if window is None else min(query_length, max(window, 16))
    columns = key_length if window is None else rows + window - 1
    blocks = -(-query_length // rows)
    after = blocks * rows - query_length  # padding of the last block
    before = columns - rows - past  # padding of the keys in reach of the first block

    exact = torch.promote_types(q.dtype, torch.float32)
    q_blocks = F.pad(q.to(exact), (0, 0, 0, after))
    q_bhgnrd = q_blocks.reshape(q.shape[0], key_heads, -1, blocks, rows, q.shape[3])
    k_bhndc = F.pad(k.to(exact), (0, 0, before, after)).unfold(2, columns, rows)
    v_bhndc = F.pad(v.to(exact), (0, 0, before, after)).unfold(2, columns, rows)

    # Rows and columns are both counted from the first key in reach.
    row = torch.arange(rows, device=q.device)[:, None] + columns - rows
    column = torch.arange(columns, device=q.device)
    first = torch.arange(blocks, device=q.device)[:, None, None] * rows - before  # position of column 0
    sees = (column <= row) & (row - column < (window or columns)) & (first + column >= 0)
    if document_ids is not None:
        key_ids = F.pad(document_ids, (before, after)).unfold(1, columns, rows)
        query_ids = key_ids[:, :, -rows:]
        sees = sees & (query_ids[..., :, None] == key_ids[..., None, :])
        sees = sees[:, None, None]

    scores = torch.einsum("bhgnrd,bhndc->bhgnrc", q_bhgnrd * options.scale, k_bhndc)
    if options.softcap is not None:
        scores = options.softcap * torch.tanh(scores / options.softcap)
    weights = torch.softmax(scores.masked_fill(~sees, float("-inf")), dim=-1)
    weights = F.dropout(weights, options.dropout)
    output = torch.einsum("bhgnrc,bhndc->bhgnrd", weights, v_bhndc)
    return output.flatten(1, 2).flatten(2, 3)[:, :, :query_length].to(q.dtype)


MANUAL = Backend(
    name="manual",
    label=lambda request: "manual (explicit softmax, for reading and debugging)",
    distribution="torch",
    max_head_dim=None,
    reasons_here=lambda: [],
    reasons_against=no_limits,
    run=run,
    stores_table=True,
)
