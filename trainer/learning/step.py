"""One optimizer step: accumulate the gradients of all batches, clip them, update the weights."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from trainer.data import Batch
from trainer.distributed.sharding import full_tensor
from trainer.learning.chunks import in_chunks_of
from trainer.learning.out_of_memory import OnRetry, explain_optimizer_out_of_memory, retry_in_less_memory
from trainer.learning.state import MemorySettings, Progress, Run


@dataclass(frozen=True)
class StepResult:
    """The result of one optimizer step.

    Attributes:
        loss: mean in nats per valid token, or the mean of the pairs of answers.
        grad_norm: norm of the gradient before clipping.
        tokens: number of valid tokens.
        measured: what else the objective measured, per valid token or pair.
        compute_seconds: until the gradients of this process were complete.
        sum_seconds: from then until they were summed over the processes; with shards 0, because both overlap.
    """

    loss: float
    grad_norm: float
    tokens: int
    measured: Mapping[str, float] = field(default_factory=dict)
    compute_seconds: float = 0.0
    sum_seconds: float = 0.0

    @property
    def finite(self) -> bool:
        return math.isfinite(self.loss) and math.isfinite(self.grad_norm)


def optimizer_step(
    run: Run, progress: Progress, batches: list[Batch], rate: float, on_retry: OnRetry
) -> StepResult:
    """Take one step. The loss is the mean over all valid tokens (or pairs) of the step, however they are split into batches.

    Args:
        rate: learning rate.
        on_retry: called each time the step ran out of memory, before it is retried with other memory settings.

    Raises:
        StepOutOfMemoryError: the step does not fit with any memory settings. The weights are unchanged.
    """
    began = time.perf_counter()
    counts = sum(batch.valid_tokens() for batch in batches), sum(batch.weight() for batch in batches)
    tokens, weight = (int(count) or 1 for count in run.processes.sum(*counts))
    sums = retry_in_less_memory(
        run, progress, lambda memory: _backpropagate(run, batches, weight, memory), on_retry
    )
    run.processes.mark("sums gradients")
    complete = _now(run)
    if run.shards:
        run.shards.sum_gradients()
    else:
        run.processes.sum_gradients(run.model.parameters())
    summed = complete if run.shards else _now(run)
    run.scaler.unscale_(run.optimizer)
    norm = torch.nn.utils.clip_grad_norm_(run.model.parameters(), run.training.max_grad_norm)
    totals = run.processes.sum(*(value.item() for value in sums.values()))
    means = {name: total / weight for name, total in zip(sums, totals, strict=True)}
    loss = means.pop("loss")
    result = StepResult(loss, full_tensor(norm).item(), tokens, means, complete - began, summed - complete)
    # GradScaler skips non-finite steps itself, and lowers its scale.
    if result.finite or run.scaler.is_enabled():
        for group in run.optimizer.param_groups:
            group["lr"] = rate
        with explain_optimizer_out_of_memory():
            run.scaler.step(run.optimizer)
        run.scaler.update()
    run.optimizer.zero_grad(set_to_none=True)
    return result


def _now(run: Run) -> float:
    """The time when the work so far is done, on the GPU as well; waits only if there are other processes to compare with."""
    if run.processes.count > 1 and run.device.type == "cuda":
        torch.cuda.synchronize(run.device)
    return time.perf_counter()


def _backpropagate(run: Run, batches: list[Batch], weight: int, memory: MemorySettings) -> dict[str, Tensor]:
    """Accumulate gradients; return the sums of the loss and of what else was measured.

    Args:
        weight: what the loss of the step is divided by.
    """
    sums: dict[str, Tensor] = {}
    objective = in_chunks_of(run.objective, memory.chunk_size)
    pieces = [piece for batch in batches for piece in batch.split(memory.micro_batch_size)]
    for number, batch in enumerate(pieces, 1):
        for part in objective.parts(batch.to(run.device)):
            if run.shards:
                last = part.last and number == len(pieces)
                run.shards.sum_at_next_backward(last, run.training.reduce_every_batch)
            torch.autograd.backward(run.scaler.scale(part.loss / weight))
            run.processes.mark()
            for name, value in {"loss": part.loss.detach(), **part.measured}.items():
                sums[name] = sums.get(name, 0) + value
    return sums
