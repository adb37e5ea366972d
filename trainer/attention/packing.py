"""Packed documents as the variable-length kernels want them: all rows of a batch laid end to end, and lengths."""

from __future__ import annotations

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


def pack(document_ids: Tensor, query_length: int) -> Packing:
    """The documents of document_ids (B, S_k). Raises ValueError where one is not a single run of tokens."""
    batch, key_length = document_ids.shape
    begins = starts(document_ids)
    position = torch.arange(key_length, device=document_ids.device)
    if bool((begins & (reach(document_ids) != position)).any()):
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
