"""Pairs of documents: a chosen answer and a rejected one to the same prompt. Each document has a row of its own."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from trainer.data.best_fit_packing import learned_before
from trainer.data.tokens import Indices, Tokenized

MULTIPLE = 64  # rows of a batch are as long as its longest document, rounded up to this many tokens


@dataclass(frozen=True)
class Pairs:
    """The rows of P pairs.

    Attributes:
        starts, places: (P, 2) position of the first token of the chosen and of the rejected document, and its number of
            places: a token and the one after it, its target.
        cut: number of pairs with a document that is longer than a row.
        lost: number of pairs that are left out, because nothing of an answer is in the row.
    """

    starts: Indices
    places: Indices
    cut: int
    lost: int

    @property
    def count(self) -> int:
        return len(self.starts)

    def length_of(self, indices: Indices, longest: int) -> int:
        """The number of tokens in the rows of a batch, at most `longest`. Indices past the last pair are padding."""
        there = self.places[indices[indices < self.count]]
        needed = int(there.max(initial=1))
        return min(-(-needed // MULTIPLE) * MULTIPLE, longest)

    def rows(self, indices: Indices) -> list[tuple[int, int]]:
        """The (start, places) of each row of a batch: chosen, rejected, chosen, ..."""
        there = indices < self.count
        chosen = np.where(there, indices, 0)
        places = np.where(there[:, None], self.places[chosen], 0)
        return list(zip(self.starts[chosen].flatten().tolist(), places.flatten().tolist(), strict=True))


def pairs_of(source: Tokenized, first: int, end: int, length: int) -> Pairs:
    """The pairs among the tokens first … end-1 of the source, in rows of at most `length` tokens."""
    ends = source.ends[source.document_ends]
    ends = ends[(ends > first) & (ends <= end)]
    starts = np.concatenate([[first], ends[:-1]]).astype(np.int64)[: len(ends)]
    kept = np.minimum(ends, starts + length + 1)
    learned = learned_before(source, kept) > learned_before(source, starts + 1)
    whole = learned.reshape(-1, 2).all(1)
    cut = (kept < ends).reshape(-1, 2).any(1) & whole
    return Pairs(
        (starts - first).reshape(-1, 2)[whole],
        (kept - starts - 1).reshape(-1, 2)[whole],
        int(cut.sum()),
        int((~whole).sum()),
    )
