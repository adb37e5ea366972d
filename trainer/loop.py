"""The training loop: data → model → loss → backward → step → records."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch

from trainer.checkpoint import Position
from trainer.data import Batch, Indices, Stream
from trainer.device import peak_memory_bytes
from trainer.errors import RunError
from trainer.metrics import MetricsLog
from trainer.optimizer import learning_rate
from trainer.progress import Reporter
from trainer.state import Run
from trainer.step import optimizer_step
from trainer.stop import StopRequest

NONFINITE_LIMIT = 20  # steps in a row; a gradient scaler may need several to find its scale


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
                **result.measured,
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


@torch.no_grad()
def evaluate(run: Run, stream: Stream) -> Evaluation:
    """Loss over the first blocks of held-out text, as many as the configuration allows."""
    run.model.eval()
    size = run.training.batch_size
    count = min(stream.blocks, run.training.eval_batches * size)
    nats, correct, valid = 0.0, 0, 0
    for first in range(0, count, size):
        indices: Indices = torch.arange(first, min(first + size, count)).numpy()
        score = run.objective.score(stream.batch(indices).to(run.device))
        nats, correct, valid = nats + score.nats, correct + score.correct, valid + score.valid
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
