"""Reduces a curve to few points without losing a spike: the lowest and the highest point of each bucket."""

from __future__ import annotations

import math
from collections.abc import Sequence

MOST = 2000  # points that a chart is sent

Point = tuple[float, float]


def reduced(x: Sequence[float], y: Sequence[float], most: int = MOST) -> list[Point]:
    """Points of a curve, from left to right: all of them, or the first, the last, and the extremes of each bucket.

    Args:
        x: increasing.
        y: a NaN is a missing value and is left out.
        most: the largest number of points to return, at least 4.
    """
    if not all(map(math.isfinite, y)):
        finite = [i for i, value in enumerate(y) if math.isfinite(value)]
        x, y = [x[i] for i in finite], [y[i] for i in finite]
    if len(y) <= most:
        return list(zip(x, y, strict=True))
    buckets, inner = (most - 2) // 2, len(y) - 2
    kept = {0, len(y) - 1}
    for number in range(buckets):
        first, end = 1 + number * inner // buckets, 1 + (number + 1) * inner // buckets
        if bucket := y[first:end]:
            kept |= {first + bucket.index(min(bucket)), first + bucket.index(max(bucket))}
    return [(x[i], y[i]) for i in sorted(kept)]
