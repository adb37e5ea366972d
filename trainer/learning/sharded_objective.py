"""Weights, gradients and optimizer state shared out over the processes: FSDP2 (torch.distributed.fsdp.fully_shard).

A block's weights are whole only while it computes; what belongs to no block (embeddings, head, last norm), while the model
does. torch gathers them when a module's forward begins, so whatever uses weights runs inside the forward of `Shards`:
an objective may go through a model in any way of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar, cast

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard

from trainer.data import Batch
from trainer.learning.objective import Objective, Part, Score

Result = TypeVar("Result")


class Shards(nn.Module):
    """This process's share of a model; the parameters of the model itself become shares, too.

    Args:
        model: on the CPU, so that no GPU ever holds more than one whole block of it.
        count: how many processes share it.
    """

    def __init__(self, model: Any, device: torch.device, count: int) -> None:
        super().__init__()
        self.model, self._count = model, count
        mesh = init_device_mesh(device.type, (count,))
        for block in _blocks(model):
            fully_shard(block, mesh=mesh)
        # Or a forward without a backward would leave weights whole.
        fully_shard(self, mesh=mesh, reshard_after_forward=True)

    def forward(self, compute: Callable[[], Result]) -> Result:
        return compute()

    def forward_of(self, compute: Callable[[], Result]) -> Result:
        """Compute something with the whole model. All processes do, and go through its blocks in the same order."""
        result: Result = self(compute)
        return result

    def sum_at_next_backward(self, wanted: bool) -> None:
        """Whether the next backward pass sums gradients over the processes. Until one does, each keeps them whole."""
        cast(FSDPModule, self).set_requires_gradient_sync(wanted)

    def sum_gradients(self) -> None:
        """What the backward passes have averaged over the processes, as sums."""
        for parameter in self.parameters():
            if parameter.grad is not None:
                parameter.grad.mul_(self._count)


@dataclass(frozen=True)
class ShardedObjective:
    """An objective whose model is shared out."""

    objective: Objective
    shards: Shards

    def parts(self, batch: Batch) -> Iterator[Part]:
        parts = self.objective.parts(batch)

        def compute() -> tuple[Tensor, Mapping[str, Tensor]] | None:
            """A tuple, since the hooks of FSDP find no tensors in a `Part`."""
            part = next(parts, None)
            return (part.loss, part.measured) if part else None

        while computed := self.shards.forward_of(compute):
            yield Part(*computed)

    def score(self, batch: Batch) -> Score:
        return self.shards.forward_of(lambda: self.objective.score(batch))


def _blocks(model: nn.Module) -> Iterator[nn.Module]:
    """The layers of a model: what its outermost module lists hold."""
    for child in model.children():
        yield from child if isinstance(child, nn.ModuleList) else _blocks(child)
