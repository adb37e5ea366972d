"""Counts the memory of the tensors that live during a step on fake tensors."""

from __future__ import annotations

import weakref
from typing import Any

from torch import Tensor
from torch.utils._pytree import tree_leaves

from trainer.learning import cross_entropy
from trainer.models.fake_model import DataFree


class LiveTensors(DataFree):
    """Counts the bytes of live tensors, and their peak; and of these the logits, whose last dimension is the vocabulary."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.vocabulary: int | None = None
        self.bytes = self.peak = 0
        self.host = self.host_peak = 0
        self.logits_at_peak = self._logits = 0
        self._known: set[int] = set()

    def restart(self) -> None:
        """Look for a new peak."""
        self.peak, self.logits_at_peak = self.bytes, self._logits

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result = super().__torch_dispatch__(func, types, args, kwargs)
        for tensor in tree_leaves(result):
            if isinstance(tensor, Tensor):
                self._count(tensor)
        return result

    def _count(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        name, size = storage._cdata, storage.nbytes()
        if name not in self._known:
            self._known.add(name)
            if tensor.device.type == "meta":  # stands for the host's memory
                self.host += size
                self.host_peak = max(self.host_peak, self.host)
                weakref.finalize(storage, self._forget_on_host, name, size)
                return
            logits = size if self._are_logits(tensor) else 0
            self.bytes += size
            self._logits += logits
            if self.bytes > self.peak:
                self.peak, self.logits_at_peak = self.bytes, self._logits
            weakref.finalize(storage, self._forget, name, size, logits)

    def _are_logits(self, tensor: Tensor) -> bool:
        width = tensor.shape[-1] if tensor.ndim > 1 else 0
        return self.vocabulary is not None and 0 <= width - self.vocabulary < cross_entropy.ALIGNMENT

    def _forget_on_host(self, name: int, size: int) -> None:
        self._known.discard(name)
        self.host -= size

    def _forget(self, name: int, size: int, logits: int) -> None:
        self._known.discard(name)
        self.bytes -= size
        self._logits -= logits
