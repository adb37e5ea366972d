"""The training loop: data → model → loss → backward → step → records."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

from trainer.data import Batch
from trainer.device import peak_memory_bytes
from trainer.errors import RunError
from trainer.learning.evaluation import examine
from trainer.learning.out_of_memory import NothingLeftToSave
from trainer.learning.position import Position
from trainer.learning.schedule import learning_rate
from trainer.learning.state import Economy, Run
from trainer.learning.step import optimizer_step
from trainer.records.metrics import MetricsLog
from trainer.records.progress import Reporter
from trainer.stop import StopRequest

NONFINITE_LIMIT = 20  # steps in a row; a gradient scaler may need several to find its scale


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
        NothingLeftToSave: a step does not fit into memory. There is a checkpoint of the one before it.
    """
    training = run.training
    not_finite = 0
    run.model.train()
    stopping = run.processes.any(stop.requested)
    while not finished(run, position) and not stopping:
        began = time.perf_counter()
        step = position.step + 1
        rate = learning_rate(step, training)
        tell = partial(_tell_out_of_memory, log, reporter, step)
        try:
            result = optimizer_step(run, batches(run, position), rate, tell)
        except NothingLeftToSave:
            if position.step and run.processes.count == 1:  # others would have to take part
                save(position)
            raise
        seconds = time.perf_counter() - began
        position = Position(step, position.samples + samples_of_step(run, position))
        last = finished(run, position)
        stopping = run.processes.any(stop.requested)

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
            log.write(
                "train",
                step,
                loss=result.loss,
                lr=rate,
                grad_norm=result.grad_norm,
                tokens=result.tokens,
                tokens_per_second=run.rates[-1],
                step_seconds=seconds,
                mfu=run.utilization.mfu(run.rates[-1] / run.processes.count),
                peak_memory_bytes=peak_memory_bytes(run.device),
                **result.measured,
                **run.labels,
            )
        if _due(step, training.eval_every) and not last:
            examine(run, step, log, reporter)
        if _due(step, training.checkpoint_every) or last or stopping:
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
    count = run.training.batch_size * run.training.gradient_accumulation_steps * run.processes.count
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


def _due(step: int, every: int) -> bool:
    return every > 0 and step % every == 0


def _tell_out_of_memory(log: MetricsLog, reporter: Reporter, step: int, said: str, economy: Economy) -> None:
    log.write(
        "oom", step, error=said, sequences=economy.sequences, gradient_checkpointing=economy.checkpointed
    )
    reporter.say(f"WARNING: step {step} ran out of memory ({said}). It is taken again in {economy}.")
