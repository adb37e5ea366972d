"""Building a model of which each process holds only its own rows.

The model is built as always, by its own constructor and with the same random numbers, so its weights are those that a single
process would start with. But only one whole parameter is in memory at a time: when the constructor turns to the next one,
the rows of this process are kept and the memory of the parameter is released. `restore` gives parameters their memory back
when FSDP takes its shards; the rows of other processes are then undefined, and take no memory on systems that allocate pages
when they are written.

Rows are the first dimension, split as torch.chunk splits it, which is how FSDP2 shards parameters.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_parameter_registration_hook
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes
from torch.utils._pytree import tree_leaves

SMALL = 1 << 16  # elements; smaller parameters stay whole
# These read the shape of a tensor, not its content.
SHAPE_ONLY = (
    *("detach", "alias"),
    *("empty_like", "zeros_like", "ones_like", "full_like", "new_empty", "new_zeros", "new_ones"),
)


class ReadsWeightsError(RuntimeError):
    """The constructor of a model computes with its weights, so they must be whole."""


class RowShards(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """While entered, each new parameter keeps only the rows of one process.

    Args:
        rank, count: of the processes that share a model; each holds one of `count` equal parts.
        values: False if the values will be read from files: then nothing is kept, and nothing is drawn.
    """

    def __init__(self, rank: int, count: int, values: bool) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._rank, self._count, self._values = rank, count, values
        self._parameters: dict[int, Tensor] = {}  # by the address of the storage
        self._kept: dict[int, Tensor] = {}
        self._whole: int | None = None  # the storage that has its memory at the moment
        self._complete = False  # whether all of it was written since

    def rows(self, tensor: Tensor) -> slice:
        """The rows of this process."""
        size = -(-tensor.shape[0] // self._count)
        return slice(min(self._rank * size, tensor.shape[0]), min((self._rank + 1) * size, tensor.shape[0]))

    @contextmanager
    def building(self) -> Iterator[None]:
        """While entered, models are built."""
        hook = register_module_parameter_registration_hook(self._registered)
        try:
            with self:
                yield
            with torch.no_grad():
                self._release()
        finally:
            hook.remove()

    @torch.no_grad()
    def restore(self, parameters: Iterable[Tensor]) -> None:
        """Give parameters their memory back, with the rows of this process."""
        for parameter in parameters:
            key = _key(parameter)
            if key in self._parameters:
                self._allocate(key)
                del self._parameters[key]
                self._kept.pop(key, None)

    def _registered(self, module: nn.Module, name: str, parameter: Any) -> None:
        if parameter is None or parameter.numel() < SMALL or not parameter.is_contiguous():
            return
        key = _key(parameter)
        if key not in self._parameters and parameter.untyped_storage().nbytes() == parameter.nbytes:
            with _disable_current_modes():
                self._release()
                self._parameters[key], self._whole = parameter.detach(), key
                self._release()

    def _release(self) -> None:
        """Keep the rows of this process of the parameter that is whole, and release its memory."""
        if self._whole is None:
            return
        parameter = self._parameters[self._whole]
        if self._values:
            self._kept[self._whole] = parameter[self.rows(parameter)].clone()
        parameter.untyped_storage().resize_(0)
        self._whole = None

    def _allocate(self, key: int) -> None:
        parameter = self._parameters[key]
        parameter.untyped_storage().resize_(parameter.nbytes)
        if key in self._kept:
            parameter[self.rows(parameter)] = self._kept[key]

    def _occupy(self, key: int) -> None:
        """Give a parameter its memory, and release that of the one before."""
        if self._whole != key:
            self._release()
            self._allocate(key)
            self._whole, self._complete = key, False

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        found = {_key(tensor) for tensor in tensors if _key(tensor) in self._parameters}
        if found and func.overloadpacket.__name__ not in SHAPE_ONLY:
            first = args[0] if args and isinstance(args[0], Tensor) else None
            written = _key(first) if func._schema.is_mutable and first is not None else None
            if written in found and first is not None and not self._values:
                return first
            if func.is_view and first is not None:  # torch checks its bounds
                self._occupy(_key(first))
            elif not found - {written} <= ({self._whole} if self._complete else set()):
                raise ReadsWeightsError(f"{func} reads a weight")
            elif written in found and first is not None:
                self._occupy(written)
                self._complete = self._complete or first.numel() == self._parameters[written].numel()
        return func(*args, **(kwargs or {}))


def _key(tensor: Tensor) -> int:
    try:
        return int(tensor.untyped_storage()._cdata)
    except (RuntimeError, NotImplementedError):  # tensors without a storage
        return 0
