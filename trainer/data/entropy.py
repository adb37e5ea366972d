"""Byte entropies of a text: the baseline that a language model must beat."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Counts = npt.NDArray[np.int64]


class BytePairs:
    """Counts of byte pairs in a text that is added part by part."""

    def __init__(self) -> None:
        self._pairs: Counts = np.zeros(1 << 16, dtype=np.int64)
        self._before = b""
        self._first = b""

    def add(self, text: bytes) -> None:
        codes = np.frombuffer(self._before + text, dtype=np.uint8)
        if len(codes):
            self._pairs += np.bincount(codes[:-1].astype(np.uint16) * 256 + codes[1:], minlength=1 << 16)
            self._first = self._first or bytes(codes[:1])
            self._before = bytes(codes[-1:])

    def add_counts(self, other: BytePairs) -> None:
        """Add a text that another object has counted, and that follows this one."""
        if not other._first:
            return
        if self._before:
            self._pairs[self._before[0] * 256 + other._first[0]] += 1
        self._pairs += other._pairs
        self._first, self._before = self._first or other._first, other._before

    def entropies(self) -> tuple[float, float]:
        """Unigram and conditional bigram entropy, in bits per byte.

        They are the loss of the best model that knows only byte frequencies, and of the best that also sees the byte before.
        """
        firsts = self._pairs.reshape(256, 256).sum(axis=1)
        singles = firsts + np.bincount(np.frombuffer(self._before, dtype=np.uint8), minlength=256)
        return _entropy(singles), _entropy(self._pairs) - _entropy(firsts)


def entropies(text: bytes) -> tuple[float, float]:
    """The unigram and bigram entropy of a text, in bits per byte; see `BytePairs.entropies`."""
    pairs = BytePairs()
    pairs.add(text)
    return pairs.entropies()


def _entropy(counts: Counts) -> float:
    p = counts[counts > 0] / max(counts.sum(), 1)
    return float(-(p * np.log2(p)).sum())
