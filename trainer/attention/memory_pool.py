"""Memory for many small tensors that stay for long, in blocks."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor

BLOCK = 4 << 20  # bytes


class Pool:
    """Memory for tensors of one shape. It is allocated in blocks for several, so that small ones, which stay for long, do not
    keep the C library from returning the memory between them. A block that no tensor uses is released.
    """

    def __init__(self) -> None:
        self._free: dict[int, list[Tensor]] = {}  # of each block, the oldest first
        self._block_of: dict[int, int] = {}  # by the id of a tensor in use
        self._size = self._made = 0

    def take(self, like: Tensor, make: Callable[[tuple[int, ...], Tensor], Tensor]) -> Tensor:
        """A tensor like another one, from `make`, which takes a shape and that one."""
        number = next((number for number, tensors in self._free.items() if tensors), None)
        if number is None:
            first = make((1, *like.shape), like)
            several = first.device.type == "cpu" and not isinstance(first, FakeTensor)
            self._size = max(1, BLOCK // like.nbytes) if several else 1
            self._made = number = self._made + 1
            self._free[number] = [*(make((self._size, *like.shape), like) if several else first)][::-1]
        tensor = self._free[number].pop()
        self._block_of[id(tensor)] = number
        return tensor

    def give(self, tensor: Tensor) -> None:
        """Take a tensor back."""
        number = self._block_of.pop(id(tensor))
        self._free[number].append(tensor)
        if len(self._free[number]) == self._size:
            del self._free[number]
