"""One optimizer step: the gradient of all its batches, clipped, and the weights moved."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from trainer.data import Batch
from trainer.state import Run


@dataclass(frozen=True)
class StepResult:
    """One optimizer step.

    Attributes:
        loss: mean in nats per valid token.
        grad_norm: of the gradient before clipping.
        tokens: valid ones.
        measured: what the objective measured beside the loss, per valid token.
    """

    loss: float
    grad_norm: float
    tokens: int
    measured: Mapping[str, float] = field(default_factory=dict)

    @property
    def finite(self) -> bool:
        return math.isfinite(self.loss) and math.isfinite(self.grad_norm)


def optimizer_step(run: Run, batches: list[Batch], rate: float) -> StepResult:
    """One step. The loss is a mean over all valid tokens of the step, however they are split into batches."""
    valid = sum(batch.valid_tokens() for batch in batches) or 1
    sums: dict[str, Tensor] = {}
    for batch in batches:
        for part in run.objective.parts(batch.to(run.device)):
            torch.autograd.backward(run.scaler.scale(part.loss / valid))
            for name, value in {"loss": part.loss.detach(), **part.measured}.items():
                sums[name] = sums.get(name, 0) + value
    run.scaler.unscale_(run.optimizer)
    norm = torch.nn.utils.clip_grad_norm_(run.model.parameters(), run.training.max_grad_norm).item()
    means = {name: value.item() / valid for name, value in sums.items()}
    result = StepResult(means.pop("loss"), norm, valid, means)
    # A scaler leaves steps that are not finite out itself, and lowers its scale.
    if result.finite or run.scaler.is_enabled():
        for group in run.optimizer.param_groups:
            group["lr"] = rate
        run.scaler.step(run.optimizer)
        run.scaler.update()
    run.optimizer.zero_grad(set_to_none=True)
    return result
