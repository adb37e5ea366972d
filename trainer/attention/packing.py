"""Packed documents as the variable-length kernels want them: all rows of a batch laid end to end, and lengths."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import accumulate

import torch
from torch import Tensor


@dataclass(frozen=True)
class Packing:
    """Documents that hold at least one query, in order, row after row.

    Attributes:
        query_lengths, key_lengths: tokens of each document; its queries are the last of its keys.
        keys: (B * S_k,) bool: which keys belong to those documents.
    """

    query_lengths: tuple[int, ...]
    key_lengths: tuple[int, ...]
    keys: Tensor


def starts(document_ids: Tensor) -> Tensor:
    """(B, S) bool: the tokens of document_ids (B, S) that begin a run of one document."""
    begins = torch.ones_like(document_ids, dtype=torch.bool)
    begins[:, 1:] = document_ids[:, 1:] != document_ids[:, :-1]
    return begins


def reach(document_ids: Tensor) -> Tensor:
    """(B, S) int64: the first token of each token's document, before which it sees nothing. Ids in any order."""
    ordered, order = document_ids.sort(dim=1, stable=True)
    position = torch.arange(ordered.shape[1], device=ordered.device).expand_as(ordered)
    group = position.where(starts(ordered), 0).cummax(dim=1).values
    return torch.empty_like(order).scatter_(1, order, order.gather(1, group))


def interrupted(document_ids: Tensor) -> bool:
    """Is there a document in document_ids (B, S) whose tokens are not side by side?"""
    position = torch.arange(document_ids.shape[1], device=document_ids.device)
    return bool((starts(document_ids) & (reach(document_ids) != position)).any())


def pack(document_ids: Tensor, query_length: int) -> Packing:
    """The documents of document_ids (B, S_k). Raises ValueError where one is not a single run of tokens."""
    batch, key_length = document_ids.shape
    begins = starts(document_ids)
    if interrupted(document_ids):
        raise ValueError(
            "document_ids: a document is interrupted by another one. This backend needs the tokens of a document "
            "side by side; the backends sdpa and manual do not"
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
    """(B, H, S, D) as (B * S, H, D)."""
    return x.transpose(1, 2).flatten(0, 1)


def offsets(lengths: tuple[int, ...], device: torch.device) -> Tensor:
    """Where each document starts, and where the last ends: (documents + 1,) int32."""
    return torch.tensor([0, *accumulate(lengths)], dtype=torch.int32, device=device)


def run_packed(
    call: Callable[..., Tensor], q: Tensor, k: Tensor, v: Tensor, document_ids: Tensor | None
) -> Tensor:
    """Attention of q (B, H, S_q, D) over k and v (B, H_kv, S_k, D) by a variable-length kernel.

    Args:
        call: takes q, k, v (tokens, heads, D), where each document starts among queries and keys (documents + 1,), and
            the longest document's queries and keys.
        document_ids: (B, S_k); None where each row is one document.
    """
    q_thd, k_thd, v_thd = lay_out(q), lay_out(k), lay_out(v)
    of_queries, of_keys = (q.shape[2],) * q.shape[0], (k.shape[2],) * q.shape[0]
    if document_ids is not None:
        packing = pack(document_ids, q.shape[2])
        k_thd, v_thd = k_thd[packing.keys], v_thd[packing.keys]
        of_queries, of_keys = packing.query_lengths, packing.key_lengths
    outputs, query, key = [], 0, 0
    for part in within_32_bits(of_queries, q.shape[1], q.shape[3]):
        query_lengths, key_lengths = of_queries[part], of_keys[part]
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
    """Documents that may share a call: FlashAttention's backward counts with int32, and pads each by up to 128 rows.

    Raises ValueError where one document alone is too long.
    """
    first, rows = 0, 0
    for index, length in enumerate(lengths):
        if overflows(length + 128, heads, head_dim):
            raise ValueError(
                f"a document of {length} tokens with {heads} heads of {head_dim} overflows the 32-bit indices of "
                "FlashAttention; use shorter documents or the backend sdpa"
            )
        if overflows(rows + length + 128, heads, head_dim):
            yield slice(first, index)
            first, rows = index, 0
        rows += length + 128
    yield slice(first, len(lengths))


def overflows(rows: int, heads: int, head_dim: int) -> bool:
    """Are there more numbers in so many rows than FlashAttention's backward can count? It rounds heads up."""
    step = 32 if head_dim <= 128 else 64
    return rows * heads * (-(-head_dim // step) * step) >= 2**31
