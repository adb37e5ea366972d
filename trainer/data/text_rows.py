"""Rows of text. The target of a row's last token is the next token of its document, so no token of a document is lost."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import torch

from trainer.data.batch import IGNORED, Batch
from trainer.data.part import Part
from trainer.data.tokens import Indices


@dataclass(frozen=True)
class TextRows(ABC):
    """Documents cut into rows; every token except the first of a document is a target exactly once.

    Attributes:
        prefix: number of tokens in front of each document, which are never targets.
    """

    part: Part
    prefix: int

    @property
    @abstractmethod
    def count(self) -> int:
        """The number of rows."""

    @property
    @abstractmethod
    def places(self) -> int:
        """The number of places that are not padding."""

    @property
    @abstractmethod
    def packed(self) -> bool:
        """Whether a row may contain several documents."""

    @abstractmethod
    def _spans(self, indices: Indices) -> tuple[Indices, Indices]:
        """The position of each row's first token, and of the first token that the row must not contain."""

    @property
    def learned_tokens(self) -> int:
        """The number of tokens, without the prefixes of the documents."""
        part = self.part
        inside = part.source.documents_before(part.end) - part.source.documents_before(part.first)
        return len(part.tokens) - self.prefix * inside

    def batch(self, indices: Indices) -> Batch:
        part = self.part
        starts, ends = self._spans(indices)
        offsets = starts[:, None] + np.arange(part.length + 1)
        past = offsets >= ends[:, None]
        inside = np.minimum(offsets, len(part.tokens) - 1)
        tokens = np.where(past, part.pad_id, part.tokens[inside].astype(np.int64))
        valid, ids = ~past[:, 1:], None
        if self.packed:
            documents = part.source.document_of(part.first + inside)
            documents = np.where(past, documents.max(initial=0) + 1, documents)
            # The first token of a document cannot be predicted from the document before it.
            valid &= documents[:, 1:] == documents[:, :-1]
            ids = torch.from_numpy(documents[:, :-1].copy())
        if self.prefix > 1:  # the first token of a row is no target in any case
            valid &= self._after_prefix(part.first + inside[:, 1:])
        targets = np.where(valid, tokens[:, 1:], IGNORED)
        return Batch(torch.from_numpy(tokens[:, :-1].copy()), torch.from_numpy(targets), ids)

    def _after_prefix(self, positions: Indices) -> npt.NDArray[np.bool_]:
        """Whether these positions of the data set are behind the prefix of their document."""
        before = positions - self.prefix
        source = self.part.source
        same: npt.NDArray[np.bool_] = source.document_of(before) == source.document_of(positions)
        return same & (before >= 0)


@dataclass(frozen=True)
class ContinuousRows(TextRows):
    """Documents follow each other without padding."""

    @property
    def count(self) -> int:
        return -(-self.places // self.part.length)

    @property
    def places(self) -> int:
        return len(self.part.tokens) - 1

    @cached_property
    def packed(self) -> bool:
        numbers = self.part.source.document_of(self.part.first + np.array([0, len(self.part.tokens) - 1]))
        return bool(numbers[0] != numbers[1])

    def _spans(self, indices: Indices) -> tuple[Indices, Indices]:
        return indices * self.part.length, np.full(len(indices), len(self.part.tokens))


@dataclass(frozen=True)
class OwnRows(TextRows):
    """Each document starts a new row."""

    packed = False

    @cached_property
    def _rows(self) -> Indices:
        """(D,) the cumulative number of rows up to the end of each document."""
        starts, ends = self.part.documents
        rows: Indices = np.cumsum(-(-(ends - starts - 1) // self.part.length))
        return rows

    @property
    def count(self) -> int:
        return int(self._rows[-1]) if len(self._rows) else 0

    @property
    def places(self) -> int:
        return len(self.part.tokens) - len(self._rows)

    def _spans(self, indices: Indices) -> tuple[Indices, Indices]:
        first, last = self.part.documents
        there = indices < self.count
        document = np.searchsorted(self._rows, np.where(there, indices, 0), side="right")
        earlier = np.where(document > 0, self._rows[document - 1], 0)
        starts = first[document] + (indices - earlier) * self.part.length
        return np.where(there, starts, 0), np.where(there, last[document], 0)
