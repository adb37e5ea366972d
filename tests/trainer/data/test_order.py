"""An epoch has every sample once, over all processes; a resumed run reads the same stream."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from trainer.data import Order

ORDERS = st.fixed_dictionaries(
    {
        "seed": st.integers(0, 99),
        "chunk": st.integers(1, 60),
        "linear": st.booleans(),
        "offset": st.integers(0, 30),
    }
)
THERE = st.integers(31, 120)  # samples in the data set


@settings(max_examples=100, deadline=None)
@given(ORDERS, THERE, st.integers(0, 3))
def test_an_epoch_is_every_sample_once(how: dict[str, int], there: int, epoch: int) -> None:
    order = Order(**how)  # type: ignore[arg-type]
    first = there * epoch + order.left_in_epoch(0, there)
    assert sorted(order.samples(first, there, there)) == list(range(there))
    assert order.left_in_epoch(first, there) == there


@settings(max_examples=100, deadline=None)
@given(ORDERS, THERE, st.integers(1, 4), st.integers(1, 5), st.integers(1, 3))
def test_processes_share_the_samples_of_a_step_without_overlap(
    how: dict[str, int], there: int, processes: int, size: int, parts: int
) -> None:
    orders = [Order(**how, rank=rank, processes=processes) for rank in range(processes)]  # type: ignore[arg-type]
    count = processes * size * parts
    for first in range(0, 3 * there, count):
        shares = [order.share(first, size, parts, there) for order in orders]
        alone = Order(**how).share(first, size * processes, parts, there)  # type: ignore[arg-type]
        assert np.array_equal(np.concatenate(shares, axis=1), alone)
        assert alone.flatten().tolist() == Order(**how).samples(first, count, there).tolist()  # type: ignore[arg-type]


@settings(max_examples=100, deadline=None)
@given(ORDERS, THERE, st.integers(1, 4), st.integers(1, 7))
def test_a_run_that_ends_after_an_epoch_reads_no_sample_beyond_it(
    how: dict[str, int], there: int, processes: int, size: int
) -> None:
    orders = [Order(**how, rank=rank, processes=processes) for rank in range(processes)]  # type: ignore[arg-type]
    position, seen = 0, []
    left = orders[0].left_in_epoch(0, there)
    while left:
        limit = min(size * processes, left)
        for order in orders:
            share = order.share(position, size, 1, there, limit)
            assert share.shape == (1, size)
            seen += [sample for sample in share.flatten().tolist() if sample != there]
        position, left = position + limit, left - limit
    assert sorted(seen) == sorted(Order(**how).samples(0, position, there))  # type: ignore[arg-type]
    assert len(set(seen)) == len(seen) == there - orders[0].offset


@settings(max_examples=100, deadline=None)
@given(ORDERS, THERE, st.integers(0, 200), st.integers(1, 50))
def test_the_order_does_not_depend_on_the_first_position_requested(
    how: dict[str, int], there: int, first: int, count: int
) -> None:
    order = Order(**how)  # type: ignore[arg-type]
    whole = order.samples(0, first + count, there)
    assert whole[first:].tolist() == order.samples(first, count, there).tolist()
    moved = Order(**{**how, "offset": 0}).samples(order.offset, first + count, there)  # type: ignore[arg-type]
    assert whole.tolist() == moved.tolist()


def test_linear_keeps_the_order_and_otherwise_each_epoch_and_seed_has_its_own() -> None:
    assert Order(5, linear=True).samples(0, 25, 10).tolist() == [*range(10), *range(10), *range(5)]
    epochs = [Order(5).samples(37 * epoch, 37, 37).tolist() for epoch in range(3)]
    assert epochs[0] != epochs[1] != epochs[2]
    assert Order(6).samples(0, 37, 37).tolist() != epochs[0]


def test_samples_of_a_chunk_are_read_together_and_chunks_are_shuffled() -> None:
    chunks = (Order(5, chunk=10).samples(0, 200, 200) // 10).reshape(20, 10)
    assert all(len(set(chunk)) == 1 for chunk in chunks.tolist())
    assert chunks[:, 0].tolist() != list(range(20))
