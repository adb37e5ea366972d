"""Weights, gradients and optimizer state sharded over the processes with FSDP2 (torch.distributed.fsdp.fully_shard).

The weights of a block are gathered only while the block computes. Those outside blocks (embeddings, head, last norm) are
gathered while the model computes. FSDP gathers weights at the start of a module's forward, so everything that uses weights
must run inside the forward of `Shards`. An objective is then free to call parts of a model in any way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar, cast

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard

from trainer.data import Batch
from trainer.learning.objective import Objective, Part, Score

Result = TypeVar("Result")


class Shards(nn.Module):
    """This process's shard of a model. The model's own parameters are replaced by shards.

    Args:
        model: on the CPU, so that no GPU ever holds more than one whole block.
        count: number of processes.
        per_copy: number of processes that share one copy of the model; with fewer than `count` there are several copies, and
            gradients are summed over them.
        prepare: called with the parameters that are sharded next.
    """

    def __init__(
        self,
        model: Any,
        device: torch.device,
        count: int,
        per_copy: int | None = None,
        prepare: Callable[[Iterable[nn.Parameter]], None] | None = None,
    ) -> None:
        super().__init__()
        self.model, self._count = model, count
        mesh = _mesh(device, count, per_copy or count)
        for block in blocks(model):
            if prepare:
                prepare(block.parameters())
            fully_shard(block, mesh=mesh)
        if prepare:
            prepare(model.parameters())
        # Without resharding, a forward without a backward would leave the weights gathered.
        fully_shard(self, mesh=mesh, reshard_after_forward=True)

    def forward(self, compute: Callable[[], Result]) -> Result:
        return compute()

    def forward_of(self, compute: Callable[[], Result]) -> Result:
        """Run `compute` with gathered weights. All processes must take part and use the blocks in the same order."""
        result: Result = self(compute)
        return result

    def sum_at_next_backward(self, last: bool, every_batch: bool) -> None:
        """Set how the next backward pass reduces gradients.

        Args:
            last: it is the last one of the step. Until then, each process keeps whole gradients; unless
            every_batch: they are reduced to shards in every backward pass. Copies of the model sum theirs only in the last one.
        """
        module = cast(FSDPModule, self)
        module.set_requires_gradient_sync(last or every_batch)
        module.set_requires_all_reduce(last)

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


def _mesh(device: torch.device, count: int, per_copy: int) -> DeviceMesh:
    """One dimension for shards; before it one for copies, if there are several. Ranks that follow each other share a copy."""
    if per_copy == count:
        return init_device_mesh(device.type, (count,))
    return init_device_mesh(device.type, (count // per_copy, per_copy), mesh_dim_names=("copies", "shards"))


def blocks(model: nn.Module) -> Iterator[nn.Module]:
    """The layers of a model: the members of its outermost module lists."""
    for child in model.children():
        yield from child if isinstance(child, nn.ModuleList) else blocks(child)
