"""Tokens cut into rows of equal length, and rows collected into batches."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from operator import itemgetter

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from trainer.data.best_fit_packing import WholeRows, whole_rows
from trainer.data.pairs import Pairs, pairs_of
from trainer.data.tokens import Array, Indices, Tokenized

IGNORED = -100  # the target of a position without one, as in torch's cross_entropy


@dataclass(frozen=True)
class Batch:
    """B rows of S tokens.

    Attributes:
        tokens: (B, S).
        targets: (B, S), the next token of each position, or IGNORED.
        document_ids: (B, S), or None if each row holds one document.
        pairs: each even row is a chosen answer, and the next row the rejected one.
    """

    tokens: Tensor
    targets: Tensor
    document_ids: Tensor | None
    pairs: bool = False

    def to(self, device: torch.device) -> Batch:
        return self._changed(lambda tensor: tensor.to(device))

    def valid_tokens(self) -> int:
        return int((self.targets != IGNORED).sum())

    def weight(self) -> int:
        """What the loss is the mean of: the valid tokens, or the pairs that are not padding."""
        if not self.pairs:
            return self.valid_tokens()
        return int((self.targets[::2] != IGNORED).any(1).sum())

    def split(self, samples: int | None) -> list[Batch]:
        """Split into batches of at most `samples` rows, or pairs of rows; None does not split."""
        size = len(self.tokens) if samples is None else samples * (2 if self.pairs else 1)
        if size >= len(self.tokens):
            return [self]
        rows = [slice(first, first + size) for first in range(0, len(self.tokens), size)]
        return [self._changed(itemgetter(each)) for each in rows]

    def _changed(self, change: Callable[[Tensor], Tensor]) -> Batch:
        ids = self.document_ids
        return replace(
            self,
            tokens=change(self.tokens),
            targets=change(self.targets),
            document_ids=ids if ids is None else change(ids),
        )


@dataclass(frozen=True)
class OwnRows:
    """The rows of an unpacked stream of D documents: each document starts a new row.

    Attributes:
        starts, ends: (D,) position of the first token of each document, and of the token after its last.
        rows: (D,) cumulative number of rows up to the end of each document.
    """

    starts: Indices
    ends: Indices
    rows: Indices


@dataclass(frozen=True)
class Stream:
    """A sequence of documents, cut into blocks of `length` tokens.

    Packed documents follow each other without padding; unpacked, each document starts a new block. The target of a block's
    last token is the first token of the next block, so every token except the first of a document is a target exactly once.
    Conversations are not cut: they are packed whole, see `whole_rows`, and only what a model learns from is a target. Of
    preference data, a sample is a pair of rows.

    Attributes:
        source: the data set that this stream is a part of.
        first: position of the stream's first token in the source.
        tokens: the tokens of the stream.
        text_bytes: number of bytes of text that the tokens encode.
        prefix: number of tokens in front of each document, which are never targets.
        own_rows: None if documents are packed.
        whole_rows: None without conversations.
        pairs: None without preference data.
    """

    source: Tokenized
    first: int
    tokens: Array
    text_bytes: int
    length: int
    pad_id: int
    prefix: int
    own_rows: OwnRows | None
    whole_rows: WholeRows | None = None
    pairs: Pairs | None = None

    @property
    def blocks(self) -> int:
        if self.pairs:
            return self.pairs.count
        if self.whole_rows:
            return len(self.whole_rows.rows)
        if self.own_rows:
            return int(self.own_rows.rows[-1]) if len(self.own_rows.rows) else 0
        return -(-(len(self.tokens) - 1) // self.length)

    @property
    def text_tokens(self) -> int:
        """Number of tokens that are learned, without the prefixes of the documents."""
        if self.whole_rows or self.pairs:
            return len(self.tokens) - self._ignored()
        end = self.first + len(self.tokens)
        inside = self.source.documents_before(end) - self.source.documents_before(self.first)
        return len(self.tokens) - self.prefix * inside

    @cached_property
    def packed(self) -> bool:
        """Whether a row may contain several documents."""
        if self.pairs:
            return False
        if self.whole_rows:
            return self.whole_rows.packed
        numbers = self.source.document_of(self.first + np.array([0, len(self.tokens) - 1]))
        return self.own_rows is None and bool(numbers[0] != numbers[1])

    def batch(self, indices: Indices) -> Batch:
        """The blocks with these indices. An index past the last block gives padding: a document of its own, without targets."""
        if self.pairs:
            return self._pair_batch(self.pairs, indices)
        if self.whole_rows:
            return self._whole_batch(self.whole_rows, indices)
        starts, ends = self._spans(indices)
        offsets = starts[:, None] + np.arange(self.length + 1)
        past = offsets >= ends[:, None]
        inside = np.minimum(offsets, len(self.tokens) - 1)
        tokens = np.where(past, self.pad_id, self.tokens[inside].astype(np.int64))
        valid, ids = ~past[:, 1:], None
        if self.packed:
            documents = self.source.document_of(self.first + inside)
            documents = np.where(past, documents.max(initial=0) + 1, documents)
            # The first token of a document cannot be predicted from the document before it.
            valid &= documents[:, 1:] == documents[:, :-1]
            ids = torch.from_numpy(documents[:, :-1].copy())
        if self.prefix > 1:  # the first token of a row is no target in any case
            valid &= self._after_prefix(self.first + inside[:, 1:])
        targets = np.where(valid, tokens[:, 1:], IGNORED)
        return Batch(torch.from_numpy(tokens[:, :-1].copy()), torch.from_numpy(targets), ids)

    def _whole_batch(self, rows: WholeRows, indices: Indices) -> Batch:
        shape = len(indices), self.length
        tokens = np.full(shape, self.pad_id, dtype=np.int64)
        targets = np.full(shape, IGNORED, dtype=np.int64)
        ids = np.zeros(shape, dtype=np.int64)
        for number, index in enumerate(indices.tolist()):
            place = document = 0
            for start, pairs in rows.segments(index):
                row = slice(place, place + pairs)
                tokens[number, row], targets[number, row] = self._segment(start, pairs)
                ids[number, row] = document
                place, document = place + pairs, document + 1
            ids[number, place:] = document
        document_ids = torch.from_numpy(ids) if rows.packed else None
        return Batch(torch.from_numpy(tokens), torch.from_numpy(targets), document_ids)

    def _pair_batch(self, pairs: Pairs, indices: Indices) -> Batch:
        rows = pairs.rows(indices)
        shape = len(rows), pairs.length_of(indices, self.length)
        tokens = np.full(shape, self.pad_id, dtype=np.int64)
        targets = np.full(shape, IGNORED, dtype=np.int64)
        for number, (start, places) in enumerate(rows):
            tokens[number, :places], targets[number, :places] = self._segment(start, places)
        return Batch(torch.from_numpy(tokens), torch.from_numpy(targets), None, pairs=True)

    def _segment(self, start: int, places: int) -> tuple[Indices, Indices]:
        """The tokens at these places, and their targets."""
        following = np.arange(start + 1, start + places + 1)
        learned = self.source.is_learned(self.first + following)
        targets = np.where(learned, self.tokens[following].astype(np.int64), IGNORED)
        return self.tokens[start : start + places].astype(np.int64), targets

    def _ignored(self) -> int:
        """The number of tokens that are never targets."""
        end = self.first + len(self.tokens)
        edges = self.source.ignored.clip(self.first, end)
        return int((edges[1::2] - edges[::2]).sum())

    def _after_prefix(self, positions: Indices) -> npt.NDArray[np.bool_]:
        """Whether these positions of the source are behind the prefix of their document."""
        before = positions - self.prefix
        same: npt.NDArray[np.bool_] = self.source.document_of(before) == self.source.document_of(positions)
        return same & (before >= 0)

    def _spans(self, indices: Indices) -> tuple[Indices, Indices]:
        """The position of each block's first token, and of the first token that the block must not contain."""
        own = self.own_rows
        if own is None:
            return indices * self.length, np.full(len(indices), len(self.tokens))
        there = indices < self.blocks
        document = np.searchsorted(own.rows, np.where(there, indices, 0), side="right")
        earlier = np.where(document > 0, own.rows[document - 1], 0)
        starts = own.starts[document] + (indices - earlier) * self.length
        return np.where(there, starts, 0), np.where(there, own.ends[document], 0)


def make(
    source: Tokenized,
    first: int,
    end: int,
    text_bytes: int,
    length: int,
    pad_id: int,
    packing: bool,
    prefix: int = 0,
) -> Stream:
    """A stream of the tokens first … end-1 of the source."""
    tokens = source.tokens[first:end]
    if source.tally.pairs:
        pairs = pairs_of(source, first, end, length)
        return Stream(source, first, tokens, text_bytes, length, pad_id, prefix, None, pairs=pairs)
    if source.tally.conversations:
        whole = whole_rows(source, first, end, length, packing)
        return Stream(source, first, tokens, text_bytes, length, pad_id, prefix, None, whole)
    own = None if packing else _own_rows(source, first, end, length)
    return Stream(source, first, tokens, text_bytes, length, pad_id, prefix, own)


def _own_rows(source: Tokenized, first: int, end: int, length: int) -> OwnRows:
    ends = source.ends[source.document_ends]
    ends = np.minimum(ends[np.searchsorted(ends, first, side="right") :], end) - first
    ends = np.unique(ends)
    starts = np.concatenate([[0], ends[:-1]]).astype(np.int64)[: len(ends)]
    return OwnRows(starts, ends, np.cumsum(-(-(ends - starts - 1) // length)))
