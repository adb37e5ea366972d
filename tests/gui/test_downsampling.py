"""A reduced curve has every spike, in few points."""

from __future__ import annotations

import math

from hypothesis import given, settings
from hypothesis import strategies as st

from gui.downsampling import reduced

VALUES = st.lists(st.floats(width=32), max_size=100)


@given(VALUES, st.integers(4, 50))
def test_each_extreme_of_each_bucket_is_kept(values: list[float], most: int) -> None:
    kept = reduced(range(len(values)), values, most)
    finite = [(float(i), y) for i, y in enumerate(values) if math.isfinite(y)]
    assert len(kept) <= max(most, 0) and set(kept) <= set(finite)
    assert kept == sorted(kept, key=lambda point: point[0])
    if finite:
        assert kept[0] == finite[0] and kept[-1] == finite[-1]
        assert min(y for _, y in kept) == min(y for _, y in finite)
        assert max(y for _, y in kept) == max(y for _, y in finite)
        width = math.ceil(len(finite) / ((most - 2) // 2))
        for i, (_, y) in enumerate(finite):
            near = [b for a, b in kept if any(a == x for x, _ in finite[max(0, i - width) : i + width + 1])]
            assert min(near) <= y <= max(near)


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 99_999))
def test_one_spike_among_100_000_points_is_kept(where: int) -> None:
    values = [1.0] * 100_000
    values[where] = 50.0
    kept = reduced(range(len(values)), values)
    assert (float(where), 50.0) in kept and len(kept) <= 2000


def test_a_short_curve_is_unchanged() -> None:
    assert reduced([1, 2, 5], [3.0, math.nan, 4.0]) == [(1, 3.0), (5, 4.0)]
