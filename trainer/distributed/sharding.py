"""Sharded tensors: gathering them, and sharding whole tensors."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor
from torch.distributed.tensor import DTensor, distribute_tensor


def full_tensor(tensor: Tensor) -> Tensor:
    """Return the whole of a tensor. If it is sharded, all processes must take part."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def gather(tensors: Mapping[str, Tensor], wanted: bool) -> dict[str, Tensor]:
    """Return whole tensors on the CPU, gathered one at a time. All processes must take part.

    A tensor that has two names stays one tensor.

    Args:
        wanted: False returns nothing, for a process that only takes part.
    """
    gathered: dict[int, Tensor] = {}
    for tensor in {id(tensor): tensor for tensor in tensors.values()}.values():
        whole = full_tensor(tensor)
        if wanted:
            gathered[id(tensor)] = whole.detach().cpu().contiguous()
    return {name: gathered[id(tensor)] for name, tensor in tensors.items()} if wanted else {}


def shard_like(parameter: Tensor, tensor: Tensor) -> Tensor:
    """Shard a tensor like a parameter of the same shape. Return it unchanged if the parameter is not sharded."""
    if not isinstance(parameter, DTensor) or tensor.shape != parameter.shape:
        return tensor
    return distribute_tensor(tensor.to(parameter.device), parameter.device_mesh, parameter.placements)
