"""A part of a data set in rows of equal length, and how its documents are laid out in them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from trainer.data.batch import Batch
from trainer.data.best_fit_packing import whole_rows
from trainer.data.pairs import PairRows, pair_rows
from trainer.data.part import Part
from trainer.data.text_rows import ContinuousRows, OwnRows
from trainer.data.tokens import Array, Indices, Tokenized


class Rows(Protocol):
    """The rows of a part of a data set. Of preference data, one of the `count` samples is a pair of rows."""

    @property
    def count(self) -> int: ...

    @property
    def places(self) -> int:
        """The number of places that are not padding."""

    @property
    def packed(self) -> bool:
        """Whether a row may contain several documents."""

    @property
    def learned_tokens(self) -> int: ...

    def batch(self, indices: Indices) -> Batch:
        """The rows with these indices. An index past the last gives padding: a document of its own, without targets."""


@dataclass(frozen=True)
class Stream:
    """A part of a data set in rows.

    Attributes:
        text_bytes: number of bytes of text that the tokens encode.
    """

    part: Part
    rows: Rows
    text_bytes: int

    @property
    def source(self) -> Tokenized:
        return self.part.source

    @property
    def tokens(self) -> Array:
        return self.part.tokens

    @property
    def blocks(self) -> int:
        """The number of samples: rows, or pairs of rows."""
        return self.rows.count

    @property
    def text_tokens(self) -> int:
        """Number of tokens that are learned, without the prefixes of the documents."""
        return self.rows.learned_tokens

    @property
    def packed(self) -> bool:
        """Whether a row may contain several documents."""
        return self.rows.packed

    @property
    def pairs(self) -> PairRows | None:
        """The rows, if they are those of preference data."""
        return self.rows if isinstance(self.rows, PairRows) else None

    def batch(self, indices: Indices) -> Batch:
        """The samples with these indices. An index past the last gives padding."""
        return self.rows.batch(indices)


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
    """A stream of the tokens first … end-1 of the source.

    Conversations and preference data are not cut as text is: they are laid out whole, and only answers are targets.
    """
    part = Part(source, first, end, length, pad_id)
    return Stream(part, _rows(part, packing, prefix), text_bytes)


def _rows(part: Part, packing: bool, prefix: int) -> Rows:
    if part.source.tally.pairs:
        return pair_rows(part)
    if part.source.tally.conversations:
        return whole_rows(part, packing)
    return ContinuousRows(part, prefix) if packing else OwnRows(part, prefix)
