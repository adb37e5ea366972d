"""Segments of a part of a data set: tokens that follow each other, laid out whole in a row."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from trainer.data.batch import IGNORED
from trainer.data.part import Part
from trainer.data.tokens import Indices


@dataclass(frozen=True)
class Segments:
    """What rows of whole documents have in common.

    Attributes:
        starts, lengths: position of a segment's first token, and its number of places: a token and the one after it, its
            target.
        cut: number of conversations, or of pairs of answers, that are cut because they are longer than a row.
    """

    part: Part
    starts: Indices
    lengths: Indices
    cut: int

    @property
    def places(self) -> int:
        """The number of places that are not padding."""
        return int(self.lengths.sum())

    @property
    def learned_tokens(self) -> int:
        """The number of tokens that may be targets."""
        edges = self.part.source.ignored.clip(self.part.first, self.part.end)
        return len(self.part.tokens) - int((edges[1::2] - edges[::2]).sum())

    def _empty_rows(self, count: int, length: int) -> tuple[Indices, Indices]:
        """Tokens and targets of padding, each (count, length)."""
        shape = count, length
        return np.full(shape, self.part.pad_id, dtype=np.int64), np.full(shape, IGNORED, dtype=np.int64)

    def _filled(self, start: int, places: int) -> tuple[Indices, Indices]:
        """The tokens at these places, and their targets."""
        part = self.part
        following = np.arange(start + 1, start + places + 1)
        learned = part.source.is_learned(part.first + following)
        targets = np.where(learned, part.tokens[following].astype(np.int64), IGNORED)
        return part.tokens[start : start + places].astype(np.int64), targets
