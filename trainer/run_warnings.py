"""Warnings about a run as a whole, shown before its first step."""

from __future__ import annotations

from collections.abc import Iterator

from trainer import chunking
from trainer.attention.pattern import layer_windows
from trainer.building import Setup
from trainer.learning.optimizer import PAGED
from trainer.learning.state import MemorySettings

HIGH_RATE = 1e-4  # of preference losses


def of(setup: Setup) -> Iterator[str]:
    config, processes, saved = setup.config, setup.processes, setup.start.saved
    if setup.precision.note:
        yield setup.precision.note
    steps, warmup = config.training.steps, config.training.warmup_steps
    if warmup > steps:
        yield (
            f"training.warmup_steps = {warmup} is more than training.steps = {steps}, so the learning rate reaches only "
            f"{steps / warmup:.0%} of its peak."
        )
    if config.training.preference and config.training.learning_rate > HIGH_RATE:
        yield (
            f"training.learning_rate = {config.training.learning_rate:g} is high for training.loss = {config.training.loss}: usual "
            "are 5e-6 to 5e-5 with LoRA, and 5e-7 to 5e-6 for all weights (--learning-rate)."
        )
    if config.training.optimizer == PAGED and setup.device.type != "cuda":
        yield f"training.optimizer = {PAGED} has nothing to page on a CPU: it works as adamw_8bit."
    if config.training.sharding != "none" and not setup.sharded:
        yield f"training.sharding = {config.training.sharding} has no effect with one process: it holds the whole model."
    if config.training.sharding == "hybrid" and processes.count == processes.local_count > 1:
        yield "training.sharding = hybrid has no effect on one machine: it is the same as full."
    yield from chunking.warnings(config, layer_windows(setup.start.model_config), setup.device)
    if setup.memory != MemorySettings.configured(config):
        yield f"the run ran out of memory before the checkpoint: continuing with {setup.memory}."
    if saved and saved.processes != processes.count:
        yield (
            f"the number of processes changed since the checkpoint (was {saved.processes}, now {processes.count}); each "
            f"reads training.batch_size = {config.training.batch_size} samples at a time."
        )
    before, now = saved.data_set if saved else None, setup.dataset.content
    if before is not None and before != now:
        yield (
            f"the data set has changed since the checkpoint (was {before}, now {now}); the remaining samples will differ."
        )
