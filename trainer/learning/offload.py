"""Activations that wait for the backward pass in the host's memory, so that the GPU holds only those of one layer.

With gradient checkpointing these are the inputs of the layers. Copies to the host run beside the computation, on a stream of
their own.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor
from torch.autograd.graph import saved_tensors_hooks

from trainer.data import Batch
from trainer.learning.objective import Objective, Part, Score

SMALLEST = 1 << 20  # bytes; copying smaller ones saves little


@dataclass(frozen=True)
class _OnHost:
    """A tensor that was moved to the host, and its device."""

    tensor: Tensor
    device: torch.device


@dataclass(frozen=True)
class Offloaded:
    """An objective whose stored activations are moved to the host.

    Attributes:
        smallest: bytes of the smallest tensor to move.
    """

    objective: Objective
    smallest: int = SMALLEST
    _streams: dict[torch.device, Any] = field(default_factory=dict, compare=False)

    def parts(self, batch: Batch) -> Iterator[Part]:
        parts = self.objective.parts(batch)
        while True:
            with saved_tensors_hooks(self._to_host, self._from_host):
                part = next(parts, None)
            if part is None:
                return
            yield part

    def score(self, batch: Batch) -> Score:
        return self.objective.score(batch)

    def _to_host(self, tensor: Tensor) -> Tensor | _OnHost:
        if tensor.nbytes < self.smallest or _is_weight(tensor):
            return tensor
        if isinstance(tensor, FakeTensor):
            return _OnHost(torch.empty_like(tensor, device="meta"), tensor.device)  # counted as the host's
        if tensor.device.type == "cpu":  # only in tests
            return _OnHost(tensor.clone(), tensor.device)
        make: Any = torch.cuda.Stream
        if tensor.device not in self._streams:
            self._streams[tensor.device] = make(tensor.device)
        stream = self._streams[tensor.device]
        host = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True)
        stream.wait_stream(torch.cuda.current_stream(tensor.device))
        with torch.cuda.stream(stream):
            host.copy_(tensor, non_blocking=True)
        tensor.record_stream(stream)
        return _OnHost(host, tensor.device)

    def _from_host(self, stored: Tensor | _OnHost) -> Tensor:
        if isinstance(stored, Tensor):
            return stored
        if stored.device in self._streams:
            torch.cuda.current_stream(stored.device).wait_stream(self._streams[stored.device])
        return stored.tensor.to(stored.device, non_blocking=True)


def _is_weight(tensor: Tensor) -> bool:
    """Whether it is a parameter or a view of one: these stay on the GPU anyway."""
    return isinstance(tensor, nn.Parameter) or isinstance(tensor._base, nn.Parameter)
