"""Packed documents in the layout of variable-length kernels: all rows of a batch end to end, and the lengths."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import accumulate

import torch
from torch import Tensor


@dataclass(frozen=True)
class Packing:
    """The documents that contain at least one query, in order, row by row.

    Attributes:
        query_lengths, key_lengths: tokens of each document; its queries are the last of its keys.
        keys: (B * S_k,) bool: the keys that belong to those documents.
    """

    query_lengths: tuple[int, ...]
    key_lengths: tuple[int, ...]
    keys: Tensor


def starts(document_ids: Tensor) -> Tensor:
    """(B, S) bool: true for the first token of each run of equal document_ids (B, S)."""
    begins = torch.ones_like(document_ids, dtype=torch.bool)
    begins[:, 1:] = document_ids[:, 1:] != document_ids[:, :-1]
    return begins


def reach(document_ids: Tensor) -> Tensor:
    """(B, S) int64: the position of the first token of each token's document. Ids may be in any order."""
    ordered, order = document_ids.sort(dim=1, stable=True)
    position = torch.arange(ordered.shape[1], device=ordered.device).expand_as(ordered)
    group = position.where(starts(ordered), 0).cummax(dim=1).values
    return torch.empty_like(order).scatter_(1, order, order.gather(1, group))


def interrupted(document_ids: Tensor) -> bool:
    """Whether a document in document_ids (B, S) is not contiguous."""
    position = torch.arange(document_ids.shape[1], device=document_ids.device)
    return bool((starts(document_ids) & (reach(document_ids) != position)).any())


def pack(document_ids: Tensor, query_length: int) -> Packing:
    """The documents of document_ids (B, S_k). Raises ValueError if one is not contiguous."""
    batch, key_length = document_ids.shape
    begins = starts(document_ids)
    if interrupted(document_ids):
        raise ValueError(
            "document_ids: a document is interrupted by another one. This backend needs contiguous documents; "
            "use sdpa or manual"
        )
    first: list[int] = begins.flatten().nonzero().flatten().tolist()
    past = key_length - query_length
    key_lengths, query_lengths, kept = [], [], []
    for start, end in zip(first, [*first[1:], batch * key_length], strict=True):
        row_start = start - start % key_length
        queries = max(0, end - max(start, row_start + past))
        kept.append(queries > 0)
        if queries:
            key_lengths.append(end - start)
            query_lengths.append(queries)
    run_of_key = begins.flatten().cumsum(0) - 1
    keys = torch.tensor(kept, device=document_ids.device)[run_of_key]
    return Packing(tuple(query_lengths), tuple(key_lengths), keys)


def lay_out(x: Tensor) -> Tensor:
    """x (B, H, S, D) as (B * S, H, D)."""
    return x.transpose(1, 2).flatten(0, 1)


def offsets(lengths: tuple[int, ...], device: torch.device) -> Tensor:
    """The start of each document and the end of the last: (documents + 1,) int32."""
    return torch.tensor([0, *accumulate(lengths)], dtype=torch.int32, device=device)


def run_packed(
    call: Callable[..., Tensor], q: Tensor, k: Tensor, v: Tensor, document_ids: Tensor | None
) -> Tensor:
    """Attention of q (B, H, S_q, D) over k and v (B, H_kv, S_k, D) by a variable-length kernel.

    Args:
        call: takes q, k, v (tokens, heads, D), the offsets of the documents among queries and among keys
            (documents + 1,), and the largest number of queries and of keys in a document.
        document_ids: (B, S_k); None if each row is one document.
    """
    q_thd, k_thd, v_thd = lay_out(q), lay_out(k), lay_out(v)
    all_queries, all_keys = (q.shape[2],) * q.shape[0], (k.shape[2],) * q.shape[0]
    if document_ids is not None:
        packing = pack(document_ids, q.shape[2])
        k_thd, v_thd = k_thd[packing.keys], v_thd[packing.keys]
        all_queries, all_keys = packing.query_lengths, packing.key_lengths
    outputs, query, key = [], 0, 0
    for part in within_32_bits(all_queries, q.shape[1], q.shape[3]):
        query_lengths, key_lengths = all_queries[part], all_keys[part]
        query_end, key_end = query + sum(query_lengths), key + sum(key_lengths)
        outputs.append(
            call(
                q_thd[query:query_end],
                k_thd[key:key_end],
                v_thd[key:key_end],
                offsets(query_lengths, q.device),
                offsets(key_lengths, q.device),
                max(query_lengths),
                max(key_lengths),
            )
        )
        query, key = query_end, key_end
    output = torch.cat(outputs) if len(outputs) > 1 else outputs[0]
    return output.reshape(q.shape[0], q.shape[2], *output.shape[1:]).transpose(1, 2)


def within_32_bits(lengths: tuple[int, ...], heads: int, head_dim: int) -> Iterator[slice]:
    """Slices of documents that fit in one call: FlashAttention's backward uses int32, and pads each by up to 128 rows.

    Raises ValueError if one document alone is too long.
    """
    first, rows = 0, 0
    for index, length in enumerate(lengths):
        if overflows(length + 128, heads, head_dim):
            raise ValueError(
                f"a document of {length} tokens with {heads} heads of {head_dim} overflows the 32-bit indices of "
                "FlashAttention; use shorter documents, or sdpa"
            )
        if overflows(rows + length + 128, heads, head_dim):
            yield slice(first, index)
            first, rows = index, 0
        rows += length + 128
    yield slice(first, len(lengths))


def overflows(rows: int, heads: int, head_dim: int) -> bool:
    """Whether this many rows overflow the int32 indices of FlashAttention's backward, which rounds head_dim up."""
    step = 32 if head_dim <= 128 else 64
    return rows * heads * (-(-head_dim // step) * step) >= 2**31
