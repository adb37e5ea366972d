"""Tensors from a pool are distinct, are used again, and their blocks are released."""

from __future__ import annotations

import torch
from torch import Tensor

from trainer.attention import memory_pool
from trainer.attention.memory_pool import Pool


def test_blocks_are_used_again_and_released() -> None:
    made: list[Tensor] = []

    def make(shape: tuple[int, ...], like: Tensor) -> Tensor:
        made.append(torch.zeros(shape, dtype=like.dtype))
        return made[-1]

    like, pool = torch.zeros(1 << 18), Pool()  # a quarter of a block
    per_block = memory_pool.BLOCK // like.nbytes
    taken = [pool.take(like, make) for _ in range(per_block + 1)]
    blocks = {tensor.untyped_storage().data_ptr() for tensor in taken}
    assert (per_block, len(blocks)) == (4, 2)
    for number, tensor in enumerate(taken):
        tensor.fill_(number)
    assert [float(tensor[-1]) for tensor in taken] == [0, 1, 2, 3, 4], "they do not overlap"
    freed = taken[1].data_ptr()
    pool.give(taken.pop(1))
    assert pool.take(like, make).data_ptr() == freed
    kept = len(made)
    pool.give(taken.pop())  # the only one of the second block
    assert pool.take(like, make).untyped_storage().data_ptr() not in {taken[0].untyped_storage().data_ptr()}
    assert len(made) > kept, "the second block was released"


def test_other_devices_allocate_each_by_itself() -> None:
    like, pool = torch.zeros(4, device="meta"), Pool()
    shapes: list[tuple[int, ...]] = []

    def make(shape: tuple[int, ...], like: Tensor) -> Tensor:
        shapes.append(shape)
        return torch.empty(shape, device="meta")

    assert pool.take(like, make).shape == (4,)
    assert shapes == [(1, 4)]
