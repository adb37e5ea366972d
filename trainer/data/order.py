"""Which samples a step reads: a pure function of a few numbers, so that processes agree without communicating."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from trainer.data.tokens import Indices

CHUNK = 4000


@dataclass(frozen=True)
class Order:
    """The order of samples over all epochs, and which of them this process reads.

    Samples are read chunk by chunk. A chunk is a run of consecutive samples, so only few of them are in memory at a time.
    Each epoch shuffles the chunks, and the samples within each chunk.

    Attributes:
        seed: of the shuffles.
        chunk: samples per chunk; the last chunk may be shorter.
        linear: do not shuffle: read samples in the order of the files.
        offset: samples skipped at the start of the first epoch.
        rank, processes: the index of this process, and the number of processes.
    """

    seed: int
    chunk: int = CHUNK
    linear: bool = False
    offset: int = 0
    rank: int = 0
    processes: int = 1

    def samples(self, first: int, count: int, there: int) -> Indices:
        """Samples number first … first+count-1 of a run over a data set of `there` samples."""
        number, end = self.offset + first, self.offset + first + count
        parts = []
        while number < end:
            parts.append(self._run(number, there)[: end - number])
            number += len(parts[-1])
        return np.concatenate(parts)

    def share(self, first: int, size: int, parts: int, there: int, limit: int | None = None) -> Indices:
        """The samples that this process reads in the step that starts at sample number `first`, as (parts, size).

        Args:
            size: samples per batch.
            parts: batches per step.
            limit: the most samples that the step may read; the rest of the batch is filled with the index `there`,
                which `Stream.batch` turns into padding.
        """
        count = size * parts * self.processes
        all_of_them = np.full(count, there, dtype=np.int64)
        some = count if limit is None else min(count, limit)
        all_of_them[:some] = self.samples(first, some, there)
        return all_of_them.reshape(parts, self.processes, size)[:, self.rank]

    def left_in_epoch(self, first: int, there: int) -> int:
        """The number of samples from `first` to the end of its epoch."""
        return there - (self.offset + first) % there

    def _run(self, number: int, there: int) -> Indices:
        """Sample `number` and the rest of its chunk."""
        epoch, place = divmod(number, there)
        if self.linear:
            return np.arange(place, min(place + self.chunk, there))
        chunks, ends = _chunks(self.seed, epoch, self.chunk, there)
        turn = int(np.searchsorted(ends, place, side="right"))
        chunk, left = int(chunks[turn]), int(ends[turn]) - place
        size = min(self.chunk, there - chunk * self.chunk)
        return chunk * self.chunk + _within(self.seed, epoch, chunk, size)[size - left :]


@lru_cache(maxsize=2)  # a step at the end of an epoch also reads from the next one
def _chunks(seed: int, epoch: int, chunk: int, there: int) -> tuple[Indices, Indices]:
    """The chunks of an epoch in shuffled order, and the cumulative number of samples at the end of each."""
    count = -(-there // chunk)
    chunks = np.random.default_rng([seed, epoch]).permutation(count)
    sizes = np.where(chunks == count - 1, there - (count - 1) * chunk, chunk)
    return chunks, np.cumsum(sizes)


@lru_cache(maxsize=2)
def _within(seed: int, epoch: int, chunk: int, size: int) -> Indices:
    return np.random.default_rng([seed, epoch, chunk]).permutation(size)
