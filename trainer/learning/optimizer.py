"""Optimizers: AdamW, alone or combined with Muon or 8-bit AdamW for the matrices inside the model."""

from __future__ import annotations

import importlib.metadata
import logging
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor
from torch.optim import AdamW, Optimizer

from doctor.extras import how_to_add
from trainer.config import TrainingSection
from trainer.distributed.sharding import full_tensor, shard_like
from trainer.errors import UserError

Groups = list[dict[str, Any]]
PAGED = "paged_adamw_8bit"
# Raised by bitsandbytes when it does not support a device.
UNSUPPORTED = (RuntimeError, AttributeError, AssertionError, NameError)


def make_optimizer(model: Any, training: TrainingSection) -> Optimizer:
    """Return the configured optimizer over all trainable parameters.

    Muon and 8-bit AdamW update the matrices inside the model; AdamW updates embeddings, the output layer and vectors.
    Weight decay applies to matrices, not to vectors (biases, norms).

    Raises:
        UserError: the optimizer is not available here.
    """
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if training.optimizer == "adamw":
        return _adamw(parameters, training)
    inner = inner_matrices(model)
    others = [parameter for parameter in parameters if parameter not in inner]
    make = _muon if training.optimizer == "muon" else _adamw_8bit
    return CombinedOptimizer(make([*inner], training), _adamw(others, training))


class CombinedOptimizer(Optimizer):
    """Several optimizers as one, with all their parameter groups and one state."""

    def __init__(self, *parts: Optimizer) -> None:
        super().__init__([group for part in parts for group in part.param_groups], {})
        self._parts = parts

    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        loss = closure() if closure else None
        first = 0
        for part in self._parts:
            end = first + len(part.param_groups)
            part.param_groups, part.state = self.param_groups[first:end], self.state
            part.step()
            first = end
        return loss


def state_tensors(optimizer: Optimizer, gather: bool = True) -> dict[str, Tensor]:
    """Return the state of an optimizer on the CPU, by "<parameter>.<slot>". Integers become int64 tensors of shape ().

    Sharded tensors are gathered, in which all processes must take part.

    Args:
        gather: False returns nothing, for a process that only takes part.
    """
    state: dict[str, Tensor] = {}
    addresses = set()
    for name, entry in state_entries(optimizer).items():
        tensor = full_tensor(entry)
        if not gather:
            continue
        tensor = tensor.detach().cpu().contiguous()
        # 8-bit states share lookup tables, and safetensors refuses tensors that share memory.
        shared = tensor.data_ptr() in addresses
        state[name] = tensor.clone() if shared else tensor
        addresses.add(tensor.data_ptr())
    return state


def is_sharded(optimizer: Optimizer) -> bool:
    """Whether its parameters are shards."""
    return any(isinstance(parameter, DTensor) for parameter in _parameters(optimizer))


def state_entries(optimizer: Optimizer) -> dict[str, Tensor]:
    """The state of an optimizer, sharded as its parameters are, by "<parameter>.<slot>"."""
    return {
        f"{index}.{slot}": torch.as_tensor(value)
        for index, parameter in enumerate(_parameters(optimizer))
        for slot, value in optimizer.state.get(parameter, {}).items()
    }


def empty_entry(optimizer: Optimizer, name: str, shape: torch.Size, dtype: torch.dtype) -> Tensor:
    """A tensor for an entry of `state_entries` that is to be read: sharded as its parameter if it has its shape."""
    parameter = _parameters(optimizer)[int(name.partition(".")[0])].detach()
    if parameter.shape == shape:
        return torch.zeros_like(parameter, dtype=dtype)
    return torch.zeros(shape, dtype=dtype)


def set_entries(optimizer: Optimizer, entries: Mapping[str, Tensor]) -> None:
    """Make these tensors, as `empty_entry` returns them, the state of an optimizer."""
    parameters = _parameters(optimizer)
    for name, tensor in entries.items():
        index, _, slot = name.partition(".")
        parameter = parameters[int(index)]
        number = tensor.ndim == 0 and tensor.dtype == torch.int64
        optimizer.state[parameter][slot] = tensor.item() if number else tensor.to(parameter.device)


def load_state_tensors(optimizer: Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Load what `state_tensors` returned, with unchanged types: `load_state_dict` would convert 8-bit state to floats."""
    parameters = _parameters(optimizer)
    for name, tensor in tensors.items():
        index, _, slot = name.partition(".")
        parameter = parameters[int(index)]
        if tensor.ndim == 0 and tensor.dtype == torch.int64:
            optimizer.state[parameter][slot] = tensor.item()
        else:
            optimizer.state[parameter][slot] = shard_like(parameter, tensor).to(parameter.device, copy=True)


def _parameters(optimizer: Optimizer) -> list[Tensor]:
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]


def inner_matrices(model: Any) -> dict[nn.Parameter, None]:
    """Trainable matrices other than embeddings and the output layer, in the model's order."""
    outer: list[nn.Module] = [module for module in model.modules() if isinstance(module, nn.Embedding)]
    outer.append(model.get_output_embeddings() or nn.Identity())
    tables = {parameter for module in outer for parameter in module.parameters()}
    return {p: None for p in model.parameters() if p.requires_grad and p.ndim == 2 and p not in tables}


def _adamw(parameters: Iterable[Tensor], training: TrainingSection) -> AdamW:
    parameters = [*parameters]
    groups: Groups = [
        {"params": [p for p in parameters if p.ndim >= 2], "weight_decay": training.weight_decay},
        {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0},
    ]
    return AdamW(groups, fused=True, **_adam_settings(training))


def _adam_settings(training: TrainingSection) -> dict[str, Any]:
    return {
        "lr": training.learning_rate,
        "betas": (training.adam_beta1, training.adam_beta2),
        "eps": training.adam_epsilon,
    }


def _muon(matrices: list[Tensor], training: TrainingSection) -> Optimizer:
    """Muon, its updates scaled to those of AdamW so that both use one learning rate: Liu et al. 2025, arXiv:2502.16982."""
    if not hasattr(torch.optim, "Muon"):
        raise UserError(
            f"training.optimizer = muon requires torch 2.9 or newer, but torch {torch.__version__} is installed. "
            "Run `aios install torch` to install the newest one for this machine, or use adamw."
        )
    return torch.optim.Muon(
        matrices,
        lr=training.learning_rate,
        weight_decay=training.weight_decay,
        adjust_lr_fn="match_rms_adamw",
    )


def _adamw_8bit(matrices: list[Tensor], training: TrainingSection) -> Optimizer:
    """AdamW with block-wise 8-bit state: Dettmers et al. 2022, arXiv:2110.02861.

    Paged state is in memory that CUDA moves to the host when the GPU is full. On a CPU there is nothing to page.
    """
    # It warns about missing kernels that are not needed here.
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
    try:
        from bitsandbytes.optim.adamw import AdamW8bit, PagedAdamW8bit
    except ImportError as error:
        raise UserError(
            f"training.optimizer = {training.optimizer} needs bitsandbytes, which cannot be imported ({error}). Use adamw, or "
            f"install it:\n  {how_to_add('bitsandbytes')}"
        ) from error
    device = matrices[0].device
    paged = training.optimizer == PAGED and device.type == "cuda"
    make: Any = PagedAdamW8bit if paged else AdamW8bit  # they have no type annotations
    parameter = nn.Parameter(torch.zeros(64, 64, device=device))
    parameter.grad = torch.zeros_like(parameter)
    try:
        make([parameter]).step()
    except UNSUPPORTED as error:
        version = importlib.metadata.version("bitsandbytes")
        raise UserError(
            f"training.optimizer = {training.optimizer}: bitsandbytes {version} does not work on {device}: "
            f"{str(error).strip().splitlines()[0]}. Try a newer version (`pip install --upgrade bitsandbytes`) or use adamw."
        ) from error
    optimizer: Optimizer = make(matrices, weight_decay=training.weight_decay, **_adam_settings(training))
    return optimizer
