"""A part of a data set, such as its training text, to be laid out in rows."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from trainer.data.batch import IGNORED
from trainer.data.tokens import Array, Indices, Tokenized


@dataclass(frozen=True)
class Part:
    """The tokens first … end-1 of a data set, and the rows that they are to fill. Positions are relative to `first`.

    Attributes:
        length: number of tokens in a row.
        pad_id: token in places that no document fills.
    """

    source: Tokenized
    first: int
    end: int
    length: int
    pad_id: int

    @cached_property
    def tokens(self) -> Array:
        return self.source.tokens[self.first : self.end]

    @cached_property
    def documents(self) -> tuple[Indices, Indices]:
        """(D,) each: the position of the first token of each document, and of the token after its last; the last one may be cut."""
        ends = self.source.ends[self.source.document_ends]
        ends = np.minimum(ends[np.searchsorted(ends, self.first, side="right") :], self.end)
        ends = np.unique(ends[ends > self.first]) - self.first
        return np.concatenate([[0], ends[:-1]]).astype(np.int64)[: len(ends)], ends

    @property
    def learned_tokens(self) -> int:
        """The number of tokens that may be targets."""
        edges = self.source.ignored.clip(self.first, self.end)
        return len(self.tokens) - int((edges[1::2] - edges[::2]).sum())

    def empty_rows(self, count: int, length: int) -> tuple[Indices, Indices]:
        """Tokens and targets of padding, each (count, length)."""
        shape = count, length
        return np.full(shape, self.pad_id, dtype=np.int64), np.full(shape, IGNORED, dtype=np.int64)

    def segment(self, start: int, places: int) -> tuple[Indices, Indices]:
        """The tokens at these places, and their targets."""
        following = np.arange(start + 1, start + places + 1)
        learned = self.source.is_learned(self.first + following)
        targets = np.where(learned, self.tokens[following].astype(np.int64), IGNORED)
        return self.tokens[start : start + places].astype(np.int64), targets
