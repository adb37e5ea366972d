"""The training loop: data → model → loss → backward → step → records."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Protocol

from trainer.config import TrainConfig
from trainer.data import Batch
from trainer.device import peak_memory_bytes
from trainer.distributed.heartbeat import EVALUATES, SAVES
from trainer.learning import process_timing
from trainer.learning.compilation import EAGER, Compilation, Gain
from trainer.learning.divergence import NONFINITE_LIMIT, NotFiniteError
from trainer.learning.evaluation import evaluate
from trainer.learning.out_of_memory import StepOutOfMemoryError
from trainer.learning.position import Position
from trainer.learning.schedule import learning_rate
from trainer.learning.state import MemorySettings, Progress, Run
from trainer.learning.step import optimizer_step
from trainer.records.gpu import GpuReadings
from trainer.records.metrics import MetricsLog
from trainer.records.progress import Reporter
from trainer.stop import StopRequest


class Saver(Protocol):
    """Writes checkpoints, perhaps in the background."""

    def save(self, wait: bool) -> Path:
        """Save, and wait until the checkpoint is in place if asked to. Returns its path."""
        ...

    def poll(self) -> None:
        """Put a checkpoint that was written in the background in place, if it is complete. Called after each step."""
        ...


def train(
    run: Run,
    progress: Progress,
    log: MetricsLog,
    reporter: Reporter,
    saver: Saver,
    stop: StopRequest,
    keep_best: Callable[[Path], None],
) -> None:
    """Take steps until the run is complete or a stop is requested.

    Args:
        progress: where to start; kept up to date.
        saver: writes checkpoints of the progress whenever one is due, and at the end.
        keep_best: protects a checkpoint from deletion, until it is called with a better one.

    Raises:
        NotFiniteError: training has diverged.
        StepOutOfMemoryError: a step does not fit into memory. The step before it has a checkpoint.
    """
    training, checkpoints = run.training, progress.checkpoints
    not_finite = 0
    gpu = GpuReadings(run.device)
    compilation = _compilation(run, position=progress.position, log=log, reporter=reporter)
    run.model.train()
    stopping = run.processes.any(stop.requested)
    while not finished(run, progress) and not stopping:
        began = time.perf_counter()
        position = progress.position
        step = position.step + 1
        rate = learning_rate(step, training)
        on_retry = partial(_report_out_of_memory, log, reporter, step)
        try:
            run.processes.mark("reads its samples", step)
            samples = batches(run, position)
            run.processes.mark("computes")
            result = compilation.step(partial(optimizer_step, run, progress, samples, rate, on_retry))
        except StepOutOfMemoryError:
            if position.step and run.processes.count == 1:  # with several, all would have to save
                saver.save(wait=True)
            raise
        seconds = time.perf_counter() - began
        tokens_per_second = result.tokens / seconds
        progress.tokens_per_second.append(tokens_per_second)
        compilation.took(seconds, tokens_per_second)
        progress.position = Position(step, position.samples + samples_of_step(run, position))
        last = finished(run, progress)
        stopping = run.processes.any(stop.requested)
        saver.poll()

        not_finite = 0 if result.finite else not_finite + 1
        if not result.finite:
            log.write("nonfinite", step, loss=result.loss, grad_norm=result.grad_norm, in_a_row=not_finite)
            if not_finite == NONFINITE_LIMIT:
                raise NotFiniteError(
                    f"The loss or its gradient was not finite for {NONFINITE_LIMIT} steps in a row, up to step {step}. "
                    f"{checkpoints.advice()}"
                )
        else:
            checkpoints.step_was_finite()
        if result.finite and (step % training.log_every == 0 or last):
            log.write(
                "train",
                step,
                loss=result.loss,
                lr=rate,
                grad_norm=result.grad_norm,
                tokens=result.tokens,
                tokens_per_second=tokens_per_second,
                step_seconds=seconds,
                mfu=run.utilization.mfu(tokens_per_second / run.processes.count),
                **result.measured,
                **process_timing.of_step(
                    run.processes, result, seconds, peak_memory_bytes(run.device), run.shards is not None
                ),
                **gpu.read(),
                **run.labels | {"chunk_size": progress.memory.chunk_size},
            )
        improved = False
        if _due(step, training.eval_every) and not last:
            run.processes.mark(EVALUATES)
            evaluate(run, progress, log, reporter)
            improved = training.early_stop_patience > 0 and progress.best.step == step
            last = finished(run, progress)
        due = _due(step, training.checkpoint_every) and result.finite  # keeps the last good checkpoint
        if due or last or stopping or improved:
            run.processes.mark(SAVES)
            checkpoints.saved(path := saver.save(wait=last or stopping or improved))
            if improved:
                keep_best(path)


def batches(run: Run, position: Position) -> list[Batch]:
    """The batches of the step after a position: this process's share of its samples."""
    size, parts = run.training.batch_size, run.training.gradient_accumulation_steps
    stream, limit = run.dataset.training, samples_of_step(run, position)
    return [
        stream.batch(part) for part in run.order.share(position.samples, size, parts, stream.blocks, limit)
    ]


def samples_of_step(run: Run, position: Position) -> int:
    """How many samples all processes together read in the step after a position.

    With stop_after_epoch, the last step of the epoch has fewer; with epochs, the last step of the run.
    """
    count = run.training.batch_size * run.training.gradient_accumulation_steps * run.processes.count
    if run.training.epochs and not run.data.iterate:
        there = run.dataset.training.blocks
        count = min(count, run.training.epochs * there - run.data.dataset_start_offset - position.samples)
    if run.data.stop_after_epoch:
        return min(count, run.order.left_in_epoch(position.samples, run.dataset.training.blocks))
    return count


def steps_of_epochs(config: TrainConfig, blocks: int, done: Position, processes: int) -> int | None:
    """The total number of steps with training.epochs; None without it.

    Args:
        blocks: samples in the data set.
        done: the position of the checkpoint that the run continues from.
    """
    training = config.training
    if training.epochs is None:
        return None
    count = training.batch_size * training.gradient_accumulation_steps * processes
    left = training.epochs * blocks - config.data.dataset_start_offset - done.samples
    return max(1, done.step + max(0, -(-left // count)))


def finished(run: Run, progress: Progress) -> bool:
    """Whether the last step was taken, with stop_after_epoch an epoch was read, or the held-out loss no longer falls."""
    position = progress.position
    if 0 < run.training.early_stop_patience <= progress.best.worse:
        return True
    if run.data.stop_after_epoch and position.samples:
        blocks = run.dataset.training.blocks
        if run.order.left_in_epoch(position.samples, blocks) == blocks:
            return True
    return position.step >= run.training.steps and not run.data.iterate


def _compilation(run: Run, position: Position, log: MetricsLog, reporter: Reporter) -> Compilation:
    """A resumed run compiles at once, because its checkpoint is of a run that had measured the gain."""

    def report(gain: Gain) -> None:
        log.write("compile", log.step, **gain.to_json())
        reporter.say(f"{'WARNING' if gain.error else 'INFO'}: {gain}")

    return Compilation(
        run.model, run.device, report, run.training.compile, 0 if position.step >= EAGER else EAGER
    )


def _due(step: int, every: int) -> bool:
    return every > 0 and step % every == 0


def _report_out_of_memory(
    log: MetricsLog, reporter: Reporter, step: int, message: str, memory: MemorySettings
) -> None:
    log.write(
        "oom",
        step,
        error=message,
        sequences=memory.micro_batch_size,
        gradient_checkpointing=memory.gradient_checkpointing,
        chunk_size=memory.chunk_size,
    )
    reporter.say(f"WARNING: step {step} ran out of memory ({message}). Retrying it with {memory}.")
