"""Splitting attention into blocks of queries and the keys that they can reach."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass

from torch import Tensor

from trainer.attention.packing import reach, starts

# Columns of all heads together that a CPU computes at a time, so that tables stay in its caches (measured with 1 MB of L2).
COLUMNS = 4096


@dataclass(frozen=True)
class Block:
    """Queries `first:last`, and the keys `low:high` that they are multiplied with.

    Attributes:
        seen: no query of the block sees a key from here on.
        done: no later block reaches a key before this.
        mixed: the keys belong to more than one document.
    """

    first: int
    last: int
    low: int
    high: int
    seen: int
    done: int
    mixed: bool


def rows_per_block(q: Tensor, window: int) -> int:
    """Queries in a block: enough for efficient products, few enough to waste little at the edges of the window."""
    if q.device.type != "cpu":
        return min(q.shape[2], max(64, min(1024, window // 2)))
    return min(q.shape[2], 64 if q.dtype.itemsize >= 4 else 128)


def parts(q: Tensor, k: Tensor, window: int) -> Iterator[tuple[slice, slice, slice]]:
    """Slices of the batch, the query heads and their key heads, small enough for a CPU's caches. A GPU gets one part."""
    batch, key_heads, keys, _ = k.shape
    groups, rows = q.shape[1] // key_heads, rows_per_block(q, window)
    pairs = batch * key_heads
    if q.device.type == "cpu":
        pairs = max(1, COLUMNS // (groups * min(window + rows, keys)))
    for row in _evenly(batch, max(1, pairs // key_heads)):
        for head in _evenly(key_heads, pairs):
            yield row, slice(head.start * groups, head.stop * groups), head


def _evenly(count: int, most: int) -> Iterator[slice]:
    """Split `count` into as few slices as possible, of nearly equal size and at most `most` each."""
    number = -(-count // most)
    for index in range(number):
        yield slice(index * count // number, (index + 1) * count // number)


def blocks(
    query_length: int, key_length: int, window: int, rows: int, document_ids: Tensor | None, bucketed: bool
) -> tuple[Block, ...]:
    """The blocks, in order.

    Args:
        bucketed: round the number of keys in a block up to one of a few sizes.
    """
    past = key_length - query_length
    # For each key: the first token of its document, and the number of its run.
    begins, runs = [0] * key_length, [0] * key_length
    if document_ids is not None:
        begins = reach(document_ids).amin(0).tolist()
        runs = starts(document_ids).any(0).cumsum(0).tolist()
    spans = []
    for first in range(0, query_length, rows):
        last = min(first + rows, query_length)
        low = max(past + first - window + 1, min(begins[past + first : past + last]))
        spans.append((first, last, low, past + last))
    if bucketed:
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
    """Bucket sizes, each 1.5 times the one before it."""
    sizes = [largest]
    while sizes[-1] > smallest:
        sizes.append(sizes[-1] * 2 // 3)
    return sizes[::-1]


def _widen(low: int, high: int, sizes: list[int]) -> tuple[int, int]:
    """`low:high` extended to the next bucket size: to the left, or to the right if there are too few keys on the left."""
    size = sizes[bisect_left(sizes, high - low)]
    low = max(0, high - size)
    return low, low + size
