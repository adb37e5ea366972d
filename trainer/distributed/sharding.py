"""Tensors that are shared out over the processes, made whole and shared out again."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor
from torch.distributed.tensor import DTensor, distribute_tensor


def full(tensor: Tensor) -> Tensor:
    """The whole of a tensor that may be shared out; then all processes take part."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def whole(tensors: Mapping[str, Tensor], keep: bool) -> dict[str, Tensor]:
    """The whole of shared tensors, on the CPU, one after the other; nothing for a process that does not keep them.

    A tensor with two names stays one. All processes take part.
    """
    gathered: dict[int, Tensor] = {}
    for tensor in {id(tensor): tensor for tensor in tensors.values()}.values():
        found = full(tensor)
        if keep:
            gathered[id(tensor)] = found.detach().cpu().contiguous()
    return {name: gathered[id(tensor)] for name, tensor in tensors.items()} if keep else {}


def share(tensor: Tensor, like: Tensor) -> Tensor:
    """A whole tensor as its parameter is shared out, if that is, and if it is of its shape."""
    if not isinstance(like, DTensor) or tensor.shape != like.shape:
        return tensor
    return distribute_tensor(tensor.to(like.device), like.device_mesh, like.placements)
