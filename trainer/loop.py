"""The training loop: data → model → loss → backward → step → records.

Shapes: B sequences of S tokens over a vocabulary of V.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from trainer.checkpoint import Position
from trainer.config import DataSection, TrainingSection
from trainer.data import IGNORED, Batch, Dataset, Indices, Order, Stream
from trainer.device import Precision, peak_memory_bytes
from trainer.errors import RunError
from trainer.metrics import MetricsLog
from trainer.mfu import UNKNOWN, Utilization
from trainer.optimizer import learning_rate
from trainer.progress import Reporter
from trainer.stop import StopRequest

NONFINITE_LIMIT = 20  # steps in a row; a gradient scaler may need several to find its scale


@dataclass(frozen=True)
class Run:
    """All that a step works on.

    Attributes:
        labels: what every train record repeats: window_size, chunk_size, backend.
        utilization: what a token costs here.
        rates: tokens per second of each step so far.
        data: how the data set is gone through.
        rank, processes: which process this is, of how many.
    """

    model: Any
    optimizer: torch.optim.Optimizer
    scaler: torch.amp.GradScaler
    dataset: Dataset
    training: TrainingSection
    device: torch.device
    precision: Precision
    labels: dict[str, Any]
    utilization: Utilization = UNKNOWN
    rates: list[float] = field(default_factory=list)
    data: DataSection = field(default_factory=DataSection)
    rank: int = 0
    processes: int = 1

    @property
    def order(self) -> Order:
        data = self.data
        return Order(
            self.training.seed,
            data.dataset_chunk_size,
            data.linear_dataset,
            data.dataset_start_offset,
            self.rank,
            self.processes,
        )


@dataclass(frozen=True)
class StepResult:
    """One optimizer step: mean loss in nats per valid token, norm of the gradient before clipping."""

    loss: float
    grad_norm: float
    tokens: int

    @property
    def finite(self) -> bool:
        return math.isfinite(self.loss) and math.isfinite(self.grad_norm)


@dataclass(frozen=True)
class Evaluation:
    """On held-out text: nats per token, its exponential, share of tokens guessed right, bits per byte of text."""

    loss: float
    ppl: float
    token_accuracy: float
    bits_per_byte: float


class NotFiniteError(RunError):
    """The loss or its gradient was not a number for too many steps in a row."""


def train(
    run: Run,
    position: Position,
    log: MetricsLog,
    reporter: Reporter,
    save: Callable[[Position], None],
    stop: StopRequest,
) -> Position:
    """Take steps until the run is complete or a stop is requested; returns how far it came.

    Args:
        position: where to begin.
        save: writes a checkpoint; called when one is due, and at the end.

    Raises:
        NotFiniteError: training has diverged. Weights are as the last good step left them.
    """
    training = run.training
    not_finite = 0
    run.model.train()
    while not finished(run, position) and not stop.requested:
        began = time.perf_counter()
        step = position.step + 1
        rate = learning_rate(min(step, training.steps), training)
        result = optimizer_step(run, batches(run, position), rate)
        seconds = time.perf_counter() - began
        position = Position(step, position.samples + samples_of_step(run, position))
        last = finished(run, position)

        run.rates.append(result.tokens / seconds)
        not_finite = 0 if result.finite else not_finite + 1
        if not result.finite:
            log.write("nonfinite", step, loss=result.loss, grad_norm=result.grad_norm, in_a_row=not_finite)
            if not_finite == NONFINITE_LIMIT:
                raise NotFiniteError(
                    f"The loss or its gradient was not finite for {NONFINITE_LIMIT} steps in a row, up to step {step}. "
                    "A lower learning rate (--learning-rate) or a longer warm-up (--warmup-steps) usually helps."
                )
        elif step % training.log_every == 0 or last:
            record = {
                "loss": result.loss,
                "lr": rate,
                "grad_norm": result.grad_norm,
                "tokens": result.tokens,
                "tokens_per_second": run.rates[-1],
                "step_seconds": seconds,
                "mfu": run.utilization.mfu(run.rates[-1]),
                "peak_memory_bytes": peak_memory_bytes(run.device),
                **run.labels,
            }
            log.write("train", step, **record)
            reporter.step(step, record)
        if _due(step, training.eval_every) and not last and run.dataset.held_out:
            evaluation = evaluate(run, run.dataset.held_out)
            log.write("eval", step, **vars(evaluation))
            reporter.evaluation(step, evaluation.loss, evaluation.bits_per_byte)
        if _due(step, training.checkpoint_every) or last or stop.requested:
            save(position)
    return position


def batches(run: Run, position: Position) -> list[Batch]:
    """The micro-batches of the step after a position."""
    size, parts = run.training.batch_size, run.training.gradient_accumulation_steps
    stream, limit = run.dataset.training, samples_of_step(run, position)
    return [
        stream.batch(part) for part in run.order.share(position.samples, size, parts, stream.blocks, limit)
    ]


def samples_of_step(run: Run, position: Position) -> int:
    """What all processes together read in the step after a position; an epoch that ends the run is not overstepped."""
    count = run.training.batch_size * run.training.gradient_accumulation_steps * run.processes
    if run.data.stop_after_epoch:
        return min(count, run.order.left_in_epoch(position.samples, run.dataset.training.blocks))
    return count


def finished(run: Run, position: Position) -> bool:
    """Whether the last step was taken, or the epoch that ends the run is through."""
    if run.data.stop_after_epoch and position.samples:
        blocks = run.dataset.training.blocks
        if run.order.left_in_epoch(position.samples, blocks) == blocks:
            return True
    return position.step >= run.training.steps and not run.data.iterate


def optimizer_step(run: Run, batches: list[Batch], rate: float) -> StepResult:
    """One step. The loss is a mean over all valid tokens of the step, however they are split into batches."""
    valid = sum(batch.valid_tokens() for batch in batches) or 1
    total = 0.0
    for batch in batches:
        batch = batch.to(run.device)
        loss = summed_loss(logits(run, batch), batch.targets) / valid
        torch.autograd.backward(run.scaler.scale(loss))
        total += loss.item()
    run.scaler.unscale_(run.optimizer)
    norm = torch.nn.utils.clip_grad_norm_(run.model.parameters(), run.training.max_grad_norm).item()
    result = StepResult(total, norm, valid)
    if (
        result.finite or run.scaler.is_enabled()
    ):  # a scaler leaves such steps out itself, and lowers its scale
        for group in run.optimizer.param_groups:
            group["lr"] = rate
        run.scaler.step(run.optimizer)
        run.scaler.update()
    run.optimizer.zero_grad(set_to_none=True)
    return result


def logits(run: Run, batch: Batch) -> Tensor:
    """(B, S, V), in the precision of the run."""
    packing = {} if batch.document_ids is None else {"document_ids": batch.document_ids}
    with run.precision.autocast(run.device):
        output: Tensor = run.model(input_ids=batch.tokens, use_cache=False, **packing).logits
    return output


def summed_loss(logits: Tensor, targets: Tensor) -> Tensor:
    """Sum of cross-entropies in nats, in float32. Targets (B, S) are the next tokens already."""
    return F.cross_entropy(
        logits.flatten(0, 1).float(), targets.flatten(), ignore_index=IGNORED, reduction="sum"
    )


@torch.no_grad()
def evaluate(run: Run, stream: Stream) -> Evaluation:
    """Loss over the first blocks of held-out text, as many as the configuration allows."""
    run.model.eval()
    size = run.training.batch_size
    count = min(stream.blocks, run.training.eval_batches * size)
    nats, correct, valid = 0.0, 0, 0
    for first in range(0, count, size):
        indices: Indices = torch.arange(first, min(first + size, count)).numpy()
        batch = stream.batch(indices).to(run.device)
        output = logits(run, batch)
        nats += summed_loss(output, batch.targets).item()
        correct += int((output.argmax(-1) == batch.targets).sum())
        valid += batch.valid_tokens()
    run.model.train()
    loss = nats / valid
    tokens_per_byte = len(stream.tokens) / stream.text_bytes
    return Evaluation(
        loss=loss,
        ppl=math.exp(min(loss, 700)),  # beyond it a float overflows
        token_accuracy=correct / valid,
        bits_per_byte=loss / math.log(2) * tokens_per_byte,
    )


def _due(step: int, every: int) -> bool:
    return every > 0 and step % every == 0
