"""Reduces a curve to few points without losing a spike: the lowest and the highest point of each bucket."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

MOST = 2000  # points that a chart is sent

Point = tuple[float, float]


def reduced(x: Sequence[float], y: Sequence[float], most: int = MOST) -> list[Point]:
    """Points of a curve, from left to right: all of them, or the first, the last, and the extremes of each bucket.

    Args:
        x: increasing.
        y: a NaN is a missing value and is left out.
        most: the largest number of points to return, at least 4.
    """
    points = [(a, b) for a, b in zip(x, y, strict=True) if math.isfinite(b)]
    if len(points) <= most:
        return points
    buckets = (most - 2) // 2
    inner = range(1, len(points) - 1)
    kept = [0, len(points) - 1]
    for number in range(buckets):
        bucket = inner[number * len(inner) // buckets : (number + 1) * len(inner) // buckets]
        kept += _extremes(points, bucket)
    return [points[i] for i in sorted({*kept})]


def _extremes(points: Sequence[Point], bucket: range) -> Iterator[int]:
    if bucket:
        yield min(bucket, key=lambda i: points[i][1])
        yield max(bucket, key=lambda i: points[i][1])
