"""Which queries and which keys are computed together: attention cut into blocks of queries and the keys they reach."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass

from torch import Tensor

from trainer.attention.packing import reach, starts

COLUMNS = 4096  # of all heads together that a CPU computes at a time: their tables stay in its caches (measured: L2 of 1 MB)


@dataclass(frozen=True)
class Block:
    """Queries `first:last`, which see no key from `seen` on, and the keys `low:high` they are multiplied with.

    No later block reaches a key before `done`. Where documents meet among the keys, it is `mixed`.
    """

    first: int
    last: int
    low: int
    high: int
    seen: int
    done: int
    mixed: bool


def rows_of(q: Tensor, window: int) -> int:
    """How many queries a block has: enough to keep the products efficient, few enough to waste little at the edges."""
    if q.device.type != "cpu":
        return min(q.shape[2], max(64, min(1024, window // 2)))
    return min(q.shape[2], 64 if q.dtype.itemsize >= 4 else 128)


def parts(q: Tensor, k: Tensor, window: int) -> Iterator[tuple[slice, slice, slice]]:
    """Rows of the batch, query heads and their key heads: as many at a time as keep tables small. A GPU has all at once."""
    batch, key_heads, keys, _ = k.shape
    groups, rows = q.shape[1] // key_heads, rows_of(q, window)
    pairs = batch * key_heads
    if q.device.type == "cpu":
        pairs = max(1, COLUMNS // (groups * min(window + rows, keys)))
    for row in _evenly(batch, max(1, pairs // key_heads)):
        for head in _evenly(key_heads, pairs):
            yield row, slice(head.start * groups, head.stop * groups), head


def _evenly(count: int, most: int) -> Iterator[slice]:
    """As few slices of so many as hold no more than `most` each, and are of much the same size."""
    number = -(-count // most)
    for index in range(number):
        yield slice(index * count // number, (index + 1) * count // number)


def blocks(
    query_length: int, key_length: int, window: int, rows: int, document_ids: Tensor | None, few_sizes: bool
) -> tuple[Block, ...]:
    """The blocks, in order.

    Args:
        few_sizes: let blocks have more keys than they reach, so that there are few different numbers of them.
    """
    past = key_length - query_length
    begins, runs = (
        [0] * key_length,
        [0] * key_length,
    )  # of each key: where its document begins; its run's number
    if document_ids is not None:
        begins = reach(document_ids).amin(0).tolist()
        runs = starts(document_ids).any(0).cumsum(0).tolist()
    spans = []
    for first in range(0, query_length, rows):
        last = min(first + rows, query_length)
        low = max(past + first - window + 1, min(begins[past + first : past + last]))
        spans.append((first, last, low, past + last))
    if few_sizes:
        sizes = _sizes(rows, min(window + rows - 1, key_length))
        spans = [(first, last, *_widen(low, high, sizes)) for first, last, low, high in spans]
    done = [key_length]
    for _, _, low, _ in reversed(spans[1:]):
        done.append(min(low, done[-1]))
    return tuple(
        Block(
            first,
            last,
            low,
            high,
            past + last,
            min(end, past + last),
            mixed=runs[low] != runs[past + last - 1],
        )
        for (first, last, low, high), end in zip(spans, reversed(done), strict=True)
    )


def _sizes(smallest: int, largest: int) -> list[int]:
    """Numbers of keys, each half as much again as the one before it."""
    sizes = [largest]
    while sizes[-1] > smallest:
        sizes.append(sizes[-1] * 2 // 3)
    return sizes[::-1]


def _widen(low: int, high: int, sizes: list[int]) -> tuple[int, int]:
    """The keys `low:high` and more: those before them, or behind them where there are too few."""
    size = sizes[bisect_left(sizes, high - low)]
    low = max(0, high - size)
    return low, low + size
