"""Rows of whole documents: each row takes as many as fit, by best fit, and what remains of it is padding.

A document of n tokens takes n - 1 places: at each, a token and the one after it, its target. What is longer than a row starts
in a row of its own: a conversation is cut there, because its further answers would be without what they answer; a text is
continued in the next row.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from trainer.data.batch import Batch
from trainer.data.part import Part
from trainer.data.segments import Segments
from trainer.data.tokens import Indices, Tokenized

TOGETHER = 1 << 15  # documents that are packed together: rows stay close to the order of the files


@dataclass(frozen=True)
class WholeRows(Segments):
    """R rows of S segments.

    Attributes:
        starts, lengths: (S,).
        rows: (R,) cumulative number of segments up to the end of each row.
        packed: whether a row may have several documents.
        lost: number of learned tokens after the cuts.
    """

    rows: Indices
    packed: bool
    lost: int

    @property
    def count(self) -> int:
        return len(self.rows)

    def segments(self, row: int) -> list[tuple[int, int]]:
        """The (start, places) of a row's segments; none for a row past the last."""
        if row >= len(self.rows):
            return []
        chosen = slice(int(self.rows[row - 1]) if row else 0, int(self.rows[row]))
        return list(zip(self.starts[chosen].tolist(), self.lengths[chosen].tolist(), strict=True))

    def batch(self, indices: Indices) -> Batch:
        tokens, targets = self._empty_rows(len(indices), self.part.length)
        ids = np.zeros_like(tokens)
        for number, index in enumerate(indices.tolist()):
            place = document = 0
            for start, places in self.segments(index):
                row = slice(place, place + places)
                tokens[number, row], targets[number, row] = self._filled(start, places)
                ids[number, row] = document
                place, document = place + places, document + 1
            ids[number, place:] = document
        document_ids = torch.from_numpy(ids) if self.packed else None
        return Batch(torch.from_numpy(tokens), torch.from_numpy(targets), document_ids)


def whole_rows(part: Part, packing: bool) -> WholeRows:
    """Pack the documents of a part.

    Args:
        packing: whether several documents may be in a row.
    """
    source, length = part.source, part.length
    starts, ends = (positions + part.first for positions in part.documents)
    with_prompt = np.searchsorted(source.ignored, ends, side="left") > np.searchsorted(
        source.ignored, starts, side="right"
    )
    kept = np.where(with_prompt, np.minimum(ends, starts + length + 1), ends)
    cut = kept < ends
    lost = sum(
        int(source.is_learned(np.arange(*each)).sum()) for each in zip(kept[cut], ends[cut], strict=True)
    )
    starts, lengths = _segments(starts - part.first, kept - part.first, length)
    first_targets = starts + part.first + 1
    learned = learned_before(source, first_targets + lengths) > learned_before(source, first_targets)
    starts, lengths = starts[learned], lengths[learned]  # without a target, a segment is padding
    if packing:
        order, rows = _packed(lengths, length)
    else:
        order, rows = np.arange(len(lengths)), np.arange(1, len(lengths) + 1)
    several = bool((np.diff(rows, prepend=0) > 1).any())
    return WholeRows(part, starts[order], lengths[order], int(cut.sum()), rows, several, lost)


def learned_before(source: Tokenized, positions: Indices) -> Indices:
    """The number of learned tokens before each position."""
    edges = source.ignored
    ignored = np.concatenate([[0], np.cumsum(edges[1::2] - edges[::2])])
    index = np.searchsorted(edges, positions, side="right")
    inside = np.where(index % 2 == 1, positions - np.append(edges, 0)[np.maximum(index - 1, 0)], 0)
    found: Indices = positions - ignored[index // 2] - inside
    return found


def _segments(starts: Indices, ends: Indices, length: int) -> tuple[Indices, Indices]:
    """Documents cut into segments of at most `length` places."""
    counts = np.maximum(-(-(ends - starts - 1) // length), 0)
    numbers = np.arange(int(counts.sum())) - np.repeat(np.cumsum(counts) - counts, counts)
    begins = np.repeat(starts, counts) + numbers * length
    return begins, np.minimum(np.repeat(ends, counts) - begins - 1, length)


def _packed(lengths: Indices, length: int) -> tuple[Indices, Indices]:
    """The segments in the order of their rows, and the cumulative number of segments of the rows."""
    rows: list[list[int]] = []
    for begin in range(0, len(lengths), TOGETHER):
        rows += _best_fit(lengths[begin : begin + TOGETHER], begin, length)
    sizes = np.cumsum([len(row) for row in rows], dtype=np.int64)
    return np.array([segment for row in rows for segment in row], dtype=np.int64), sizes


def _best_fit(lengths: npt.NDArray[Any], begin: int, length: int) -> list[list[int]]:
    """Best fit, the longest first: each segment goes where the least space remains. Rows are in the order of their first."""
    spaces: list[int] = []  # the different amounts of space in rows, ascending
    with_space: dict[int, list[list[int]]] = {}
    rows: list[list[int]] = []
    for index in np.argsort(-lengths, kind="stable").tolist():
        size = int(lengths[index])
        place = bisect_left(spaces, size)
        if place == len(spaces):
            row: list[int] = []
            rows.append(row)
            space = length
        else:
            space = spaces[place]
            row = with_space[space].pop()
            if not with_space[space]:
                del spaces[place], with_space[space]
        row.append(begin + index)
        if (left := space - size) > 0:
            if left not in with_space:
                insort(spaces, left)
            with_space.setdefault(left, []).append(row)
    for row in rows:
        row.sort()
    return sorted(rows)
