"""One optimizer step: the gradient of all its batches, clipped, and the weights moved."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from trainer.data import Batch
from trainer.distributed.sharding import full
from trainer.learning.out_of_memory import Tell, in_less, nothing_to_save
from trainer.learning.state import Run


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


def optimizer_step(run: Run, batches: list[Batch], rate: float, tell: Tell) -> StepResult:
    """One step. The loss is a mean over all valid tokens of the step, however they are split into batches.

    Args:
        tell: told each time that memory ran out and the batches are split further.

    Raises:
        NothingLeftToSave: they do not fit in any way. The weights are as they were.
    """
    valid = int(*run.processes.sum(sum(batch.valid_tokens() for batch in batches))) or 1
    sums = in_less(run, lambda: _backpropagate(run, batches, valid), tell)
    if run.shards:
        run.shards.sum_gradients()
    else:
        run.processes.sum_gradients(run.model.parameters())
    run.scaler.unscale_(run.optimizer)
    norm = full(torch.nn.utils.clip_grad_norm_(run.model.parameters(), run.training.max_grad_norm)).item()
    totals = run.processes.sum(*(value.item() for value in sums.values()))
    means = {name: total / valid for name, total in zip(sums, totals, strict=True)}
    result = StepResult(means.pop("loss"), norm, valid, means)
    # A scaler leaves steps that are not finite out itself, and lowers its scale.
    if result.finite or run.scaler.is_enabled():
        for group in run.optimizer.param_groups:
            group["lr"] = rate
        with nothing_to_save():
            run.scaler.step(run.optimizer)
        run.scaler.update()
    run.optimizer.zero_grad(set_to_none=True)
    return result


def _backpropagate(run: Run, batches: list[Batch], valid: int) -> dict[str, Tensor]:
    """Gradients into the weights, and the sums of what was measured, the loss among them."""
    sums: dict[str, Tensor] = {}
    pieces = [piece for batch in batches for piece in batch.split(run.economy.sequences)]
    for number, batch in enumerate(pieces, 1):
        if run.shards:
            run.shards.sum_at_next_backward(number == len(pieces))
        for part in run.objective.parts(batch.to(run.device)):
            torch.autograd.backward(run.scaler.scale(part.loss / valid))
            for name, value in {"loss": part.loss.detach(), **part.measured}.items():
                sums[name] = sums.get(name, 0) + value
    return sums
