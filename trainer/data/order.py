"""Which samples a step reads: a pure function of a few numbers, so that processes agree on it without a word."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from trainer.data.tokens import Indices

CHUNK = 4000


@dataclass(frozen=True)
class Order:
    """How the samples of a data set follow each other, epoch after epoch, and which of them are this process's.

    The samples are taken chunk by chunk. Chunks are consecutive samples, so few of them lie in memory at a time. Each
    epoch draws a new order of chunks, and of samples within each.

    Attributes:
        seed: of the draws.
        chunk: samples in a chunk; the last may have fewer.
        linear: draw nothing: samples as they lie in the files.
        offset: samples passed over at the beginning of the first epoch.
        rank, processes: which process this is, of how many.
    """

    seed: int
    chunk: int = CHUNK
    linear: bool = False
    offset: int = 0
    rank: int = 0
    processes: int = 1

    def samples(self, first: int, count: int, there: int) -> Indices:
        """Samples number first … first+count-1 of a run, of those `there` are."""
        number, end = self.offset + first, self.offset + first + count
        parts = []
        while number < end:
            parts.append(self._run(number, there)[: end - number])
            number += len(parts[-1])
        return np.concatenate(parts)

    def share(self, first: int, size: int, parts: int, there: int, limit: int | None = None) -> Indices:
        """This process's samples of a step that begins with sample number `first`, as (parts, size).

        Args:
            size: samples in a batch.
            parts: batches in a step.
            limit: samples that the step may read, at most: what takes the place of the others is no sample (`there`).
        """
        count = size * parts * self.processes
        all_of_them = np.full(count, there, dtype=np.int64)
        some = count if limit is None else min(count, limit)
        all_of_them[:some] = self.samples(first, some, there)
        return all_of_them.reshape(parts, self.processes, size)[:, self.rank]

    def left_in_epoch(self, first: int, there: int) -> int:
        """Samples from number `first` on to the end of its epoch."""
        return there - (self.offset + first) % there

    def _run(self, number: int, there: int) -> Indices:
        """Sample `number` and those after it, to the end of its chunk."""
        epoch, place = divmod(number, there)
        if self.linear:
            return np.arange(place, min(place + self.chunk, there))
        chunks, ends = _chunks(self.seed, epoch, self.chunk, there)
        turn = int(np.searchsorted(ends, place, side="right"))
        chunk, left = int(chunks[turn]), int(ends[turn]) - place
        size = min(self.chunk, there - chunk * self.chunk)
        return chunk * self.chunk + _within(self.seed, epoch, chunk, size)[size - left :]


@lru_cache(maxsize=2)  # a step that ends an epoch begins the next
def _chunks(seed: int, epoch: int, chunk: int, there: int) -> tuple[Indices, Indices]:
    """The chunks of an epoch in turn, and the samples up to the end of each."""
    count = -(-there // chunk)
    chunks = np.random.default_rng([seed, epoch]).permutation(count)
    sizes = np.where(chunks == count - 1, there - (count - 1) * chunk, chunk)
    return chunks, np.cumsum(sizes)


@lru_cache(maxsize=2)
def _within(seed: int, epoch: int, chunk: int, size: int) -> Indices:
    return np.random.default_rng([seed, epoch, chunk]).permutation(size)
