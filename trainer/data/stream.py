"""Tokens as rows of one length, which training reads in batches."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from trainer.data.tokens import Array, Indices, Tokenized

IGNORED = -100  # the target of a position that has none


@dataclass(frozen=True)
class Batch:
    """Some rows. Shapes are (B, S); `targets` is the token after each, or IGNORED."""

    tokens: Tensor
    targets: Tensor
    document_ids: Tensor | None

    def to(self, device: torch.device) -> Batch:
        ids = self.document_ids
        return Batch(self.tokens.to(device), self.targets.to(device), ids if ids is None else ids.to(device))

    def valid_tokens(self) -> int:
        return int((self.targets != IGNORED).sum())

    def split(self, sequences: int | None) -> list[Batch]:
        """In batches of at most so many sequences; None for as it is."""
        if sequences is None or sequences >= len(self.tokens):
            return [self]
        rows = [slice(first, first + sequences) for first in range(0, len(self.tokens), sequences)]
        ids = self.document_ids
        return [Batch(self.tokens[r], self.targets[r], ids if ids is None else ids[r]) for r in rows]


@dataclass(frozen=True)
class OwnRows:
    """Rows that begin with a document, or with what an earlier row had no room for. D documents.

    Attributes:
        starts, ends: (D,) tokens before each document, and up to its end.
        rows: (D,) rows up to its end.
    """

    starts: Indices
    ends: Indices
    rows: Indices


@dataclass(frozen=True)
class Stream:
    """Documents in a row, cut into blocks of `length` tokens: one after the other, or each document from a new block on.

    A block also knows the token after its last, so every token but a document's first is a target exactly once.

    Attributes:
        source: the documents, and perhaps others.
        first: where in the source this stream begins.
        tokens: its tokens.
        text_bytes: bytes of the text that they stand for.
        own_rows: None where documents share rows.
    """

    source: Tokenized
    first: int
    tokens: Array
    text_bytes: int
    length: int
    pad_id: int
    own_rows: OwnRows | None

    @property
    def blocks(self) -> int:
        if self.own_rows:
            return int(self.own_rows.rows[-1]) if len(self.own_rows.rows) else 0
        return -(-(len(self.tokens) - 1) // self.length)

    @cached_property
    def packed(self) -> bool:
        """Whether a row may hold several documents."""
        numbers = self.source.document_of(self.first + np.array([0, len(self.tokens) - 1]))
        return self.own_rows is None and bool(numbers[0] != numbers[1])

    def batch(self, indices: Indices) -> Batch:
        """The blocks with these indices; one past the last is padding, which is a document of its own and no target."""
        starts, ends = self._spans(indices)
        offsets = starts[:, None] + np.arange(self.length + 1)
        past = offsets >= ends[:, None]
        inside = np.minimum(offsets, len(self.tokens) - 1)
        tokens = np.where(past, self.pad_id, self.tokens[inside].astype(np.int64))
        valid, ids = ~past[:, 1:], None
        if self.packed:
            documents = self.source.document_of(self.first + inside)
            documents = np.where(past, documents.max(initial=0) + 1, documents)
            # The first token of a document does not follow from the document before it.
            valid &= documents[:, 1:] == documents[:, :-1]
            ids = torch.from_numpy(documents[:, :-1].copy())
        targets = np.where(valid, tokens[:, 1:], IGNORED)
        return Batch(torch.from_numpy(tokens[:, :-1].copy()), torch.from_numpy(targets), ids)

    def _spans(self, indices: Indices) -> tuple[Indices, Indices]:
        """First token of each block, and where the tokens that it may hold end."""
        own = self.own_rows
        if own is None:
            return indices * self.length, np.full(len(indices), len(self.tokens))
        there = indices < self.blocks
        document = np.searchsorted(own.rows, np.where(there, indices, 0), side="right")
        earlier = np.where(document > 0, own.rows[document - 1], 0)
        starts = own.starts[document] + (indices - earlier) * self.length
        return np.where(there, starts, 0), np.where(there, own.ends[document], 0)


def make(
    source: Tokenized, first: int, end: int, text_bytes: int, length: int, pad_id: int, packing: bool
) -> Stream:
    """The tokens first … end-1 of the source as a stream."""
    own = None if packing else _own_rows(source, first, end, length)
    return Stream(source, first, source.tokens[first:end], text_bytes, length, pad_id, own)


def _own_rows(source: Tokenized, first: int, end: int, length: int) -> OwnRows:
    lasts = np.append(source.documents[1:] != source.documents[:-1], len(source.documents) > 0)
    ends = source.ends[lasts]
    ends = np.minimum(ends[np.searchsorted(ends, first, side="right") :], end) - first
    ends = np.unique(ends)
    starts = np.concatenate([[0], ends[:-1]]).astype(np.int64)[: len(ends)]
    return OwnRows(starts, ends, np.cumsum(-(-(ends - starts - 1) // length)))
