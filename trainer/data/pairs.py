"""Pairs of documents: a chosen answer and a rejected one to the same prompt. Each document has a row of its own."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from trainer.data.batch import Batch
from trainer.data.best_fit_packing import learned_before
from trainer.data.part import Part
from trainer.data.segments import Segments
from trainer.data.tokens import Indices

MULTIPLE = 64  # rows of a batch are as long as its longest document, rounded up to this many tokens


@dataclass(frozen=True)
class PairRows(Segments):
    """The rows of P pairs.

    Attributes:
        starts, lengths: (P, 2), of the chosen and of the rejected document.
        lost: number of pairs that are left out, because nothing of an answer is in the row.
    """

    lost: int

    packed = False

    @property
    def count(self) -> int:
        return len(self.starts)

    def batch(self, indices: Indices) -> Batch:
        """Rows in the order chosen, rejected, chosen, ...; as long as the longest of them, or a little longer."""
        there = indices < self.count
        chosen = np.where(there, indices, 0)
        lengths = np.where(there[:, None], self.lengths[chosen], 0)
        needed = -(-int(lengths.max(initial=1)) // MULTIPLE) * MULTIPLE
        tokens, targets = self._empty_rows(lengths.size, min(needed, self.part.length))
        segments = zip(self.starts[chosen].flatten().tolist(), lengths.flatten().tolist(), strict=True)
        for number, (start, places) in enumerate(segments):
            tokens[number, :places], targets[number, :places] = self._filled(start, places)
        return Batch(torch.from_numpy(tokens), torch.from_numpy(targets), None, pairs=True)


def pair_rows(part: Part) -> PairRows:
    """The pairs of a part. Both documents of a pair are whole in it."""
    starts, ends = part.documents
    kept = np.minimum(ends, starts + part.length + 1)
    learned = learned_before(part.source, kept + part.first) > learned_before(
        part.source, starts + part.first + 1
    )
    whole = learned.reshape(-1, 2).all(1)
    cut = (kept < ends).reshape(-1, 2).any(1) & whole
    return PairRows(
        part,
        starts.reshape(-1, 2)[whole],
        (kept - starts - 1).reshape(-1, 2)[whole],
        int(cut.sum()),
        int((~whole).sum()),
    )
