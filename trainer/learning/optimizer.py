"""What moves the weights: AdamW alone, or beside it Muon or 8-bit AdamW for the matrices inside the model."""

from __future__ import annotations

import importlib.metadata
import logging
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import AdamW, Optimizer

from doctor.extras import how_to_add
from trainer.config import TrainingSection
from trainer.distributed.sharding import full, share
from trainer.errors import UserError

Groups = list[dict[str, Any]]
CANNOT_COMPUTE = (RuntimeError, AttributeError, AssertionError, NameError)  # as bitsandbytes shows it


def make_optimizer(model: Any, training: TrainingSection) -> Optimizer:
    """The optimizer that is configured, over all parameters that learn. Matrices decay; vectors (biases, norms) do not.

    Muon and 8-bit AdamW take the matrices inside the model. Embeddings, the output layer and vectors stay with AdamW.

    Raises:
        UserError: it cannot be had here.
    """
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if training.optimizer == "adamw":
        return _adamw(parameters, training)
    inner = inner_matrices(model)
    others = [parameter for parameter in parameters if parameter not in inner]
    make = {"muon": _muon, "adamw_8bit": _adamw_8bit}[training.optimizer]
    return Together(make([*inner], training), _adamw(others, training))


class Together(Optimizer):
    """Several optimizers as one: their groups in a row, and one state."""

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


def state_tensors(optimizer: Optimizer, keep: bool = True) -> dict[str, Tensor]:
    """All that an optimizer has in mind, on the CPU, by "<parameter>.<slot>". Whole numbers are int64 of no dimension.

    Of shared tensors it is the whole: all processes take part, and those that do not keep it get nothing.
    """
    found: dict[str, Tensor] = {}
    places = set()
    for index, parameter in enumerate(_parameters(optimizer)):
        for slot, value in optimizer.state.get(parameter, {}).items():
            tensor = full(torch.as_tensor(value))
            if not keep:
                continue
            tensor = tensor.detach().cpu().contiguous()
            # 8-bit state has tables in common, and a file takes nothing twice.
            shared = tensor.data_ptr() in places
            found[f"{index}.{slot}"] = tensor.clone() if shared else tensor
            places.add(tensor.data_ptr())
    return found


def load_state_tensors(optimizer: Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Put back what `state_tensors` gave, each type as it was: `load_state_dict` would make floats of 8-bit state."""
    parameters = _parameters(optimizer)
    for name, tensor in tensors.items():
        index, _, slot = name.partition(".")
        parameter = parameters[int(index)]
        whole = tensor.ndim == 0 and tensor.dtype == torch.int64
        optimizer.state[parameter][slot] = (
            tensor.item() if whole else share(tensor, parameter).to(parameter.device, copy=True)
        )


def _parameters(optimizer: Optimizer) -> list[Tensor]:
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]


def inner_matrices(model: Any) -> dict[nn.Parameter, None]:
    """Matrices that learn and are neither a table of embeddings nor the output layer, in the model's order."""
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
    """Muon with steps as large as AdamW's, so that one learning rate serves both: Liu et al. 2025, arXiv:2502.16982."""
    if not hasattr(torch.optim, "Muon"):
        raise UserError(
            f"training.optimizer = muon takes torch 2.9 or newer; this is torch {torch.__version__}. "
            "`aios install torch` brings the newest that fits this machine; adamw works with any."
        )
    return torch.optim.Muon(
        matrices,
        lr=training.learning_rate,
        weight_decay=training.weight_decay,
        adjust_lr_fn="match_rms_adamw",
    )


def _adamw_8bit(matrices: list[Tensor], training: TrainingSection) -> Optimizer:
    """AdamW whose state is 8 bits a number, in blocks: Dettmers et al. 2022, arXiv:2110.02861."""
    logging.getLogger("bitsandbytes").setLevel(
        logging.ERROR
    )  # kernels that it misses, and that are not asked for
    try:
        from bitsandbytes.optim.adamw import AdamW8bit
    except ImportError as error:
        raise UserError(
            f"training.optimizer = adamw_8bit needs bitsandbytes, which cannot be imported ({error}). Use adamw, or "
            f"install it:\n  {how_to_add('bitsandbytes')}"
        ) from error
    make: Any = AdamW8bit  # without types
    device = matrices[0].device
    proof = nn.Parameter(torch.zeros(64, 64, device=device))
    proof.grad = torch.zeros_like(proof)
    try:
        make([proof]).step()
    except CANNOT_COMPUTE as error:
        version = importlib.metadata.version("bitsandbytes")
        raise UserError(
            f"training.optimizer = adamw_8bit: bitsandbytes {version} cannot compute on {device}: "
            f"{str(error).strip().splitlines()[0]}. Try a newer one (`pip install --upgrade bitsandbytes`), or adamw."
        ) from error
    made: Optimizer = make(matrices, weight_decay=training.weight_decay, **_adam_settings(training))
    return made
