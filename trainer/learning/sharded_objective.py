"""Weights, gradients and optimizer state sharded over the processes with FSDP2 (torch.distributed.fsdp.fully_shard).

The weights of a block are gathered only while the block computes. Those outside blocks (embeddings, head, last norm) are
gathered while the model computes. FSDP gathers weights at the start of a module's forward, so everything that uses weights
must run inside the forward of `Shards`. An objective is then free to call parts of a model in any way.
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
    """This process's shard of a model. The model's own parameters are replaced by shards.

    Args:
        model: on the CPU, so that no GPU ever holds more than one whole block.
        count: number of processes.
    """

    def __init__(self, model: Any, device: torch.device, count: int) -> None:
        super().__init__()
        self.model, self._count = model, count
        mesh = init_device_mesh(device.type, (count,))
        for block in _blocks(model):
            fully_shard(block, mesh=mesh)
        # Without resharding, a forward without a backward would leave the weights gathered.
        fully_shard(self, mesh=mesh, reshard_after_forward=True)

    def forward(self, compute: Callable[[], Result]) -> Result:
        return compute()

    def forward_of(self, compute: Callable[[], Result]) -> Result:
        """Run `compute` with gathered weights. All processes must take part and use the blocks in the same order."""
        result: Result = self(compute)
        return result

    def sum_at_next_backward(self, enabled: bool) -> None:
        """Set whether the next backward pass reduces gradients. Until one does, each process keeps whole gradients."""
        cast(FSDPModule, self).set_requires_gradient_sync(enabled)

    def sum_gradients(self) -> None:
        """Turn the gradients, which FSDP averages over the processes, into sums."""
        for parameter in self.parameters():
            if parameter.grad is not None:
                parameter.grad.mul_(self._count)


@dataclass(frozen=True)
class ShardedObjective:
    """An objective whose model is sharded."""

    objective: Objective
    shards: Shards

    def parts(self, batch: Batch) -> Iterator[Part]:
        parts = self.objective.parts(batch)

        def compute() -> tuple[Tensor, Mapping[str, Tensor], bool] | None:
            """The next part as a tuple: FSDP's hooks do not find tensors inside a `Part`."""
            part = next(parts, None)
            return (part.loss, part.measured, part.last) if part else None

        while computed := self.shards.forward_of(compute):
            yield Part(*computed)

    def score(self, batch: Batch) -> Score:
        return self.shards.forward_of(lambda: self.objective.score(batch))


def _blocks(model: nn.Module) -> Iterator[nn.Module]:
    """The layers of a model: the members of its outermost module lists."""
    for child in model.children():
        yield from child if isinstance(child, nn.ModuleList) else _blocks(child)
