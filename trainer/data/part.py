"""A part of a data set, such as its training text, to be laid out in rows."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

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
