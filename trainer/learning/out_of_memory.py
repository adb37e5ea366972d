"""Retry a step that runs out of memory, with settings that use less."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TypeVar

import torch

from trainer.errors import RunError, UserError
from trainer.learning.state import MemorySettings, Progress, Run
from trainer.models.model import checkpoint_activations
from trainer.random_state import random_state, restore_random_state

SMALLEST_CHUNK = 64  # tokens; smaller ones save little, and take long
Result = TypeVar("Result")
OnRetry = Callable[[str, MemorySettings], None]  # torch's message, and the settings of the next attempt
Fallback = Callable[[Run, MemorySettings], MemorySettings | None]

# Messages of CPU allocators, CUDA and its libraries. Each has its own type of error.
MESSAGES = (
    "DefaultCPUAllocator",
    "CUDA out of memory",
    "CUDA error: out of memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_ALLOC_FAILED",
    "std::bad_alloc",
    "could not create a memory",  # oneDNN
)


class StepOutOfMemoryError(RunError):
    """A step does not fit into memory, whatever the memory settings."""


def is_out_of_memory(error: BaseException) -> bool:
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    return isinstance(error, RuntimeError) and any(message in str(error) for message in MESSAGES)


def retry_in_less_memory(
    run: Run, progress: Progress, compute: Callable[[MemorySettings], Result], on_retry: OnRetry
) -> Result:
    """Return the result of `compute`, retried with the next memory settings each time it runs out of memory.

    The settings that worked are kept in `progress`. A retry starts without gradients and with the random state of the
    first attempt, so a failed attempt has no effect on the result.

    Raises:
        StepOutOfMemoryError: every fallback failed.
    """
    random = random_state(run.device)
    tried = []
    while True:
        tried.append(str(progress.memory))
        try:
            return compute(progress.memory)
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            message = _first_line(error)
        # Outside the except clause, because the error keeps its frames alive, and these hold the activations.
        _free_memory(run)
        restore_random_state(random, run.device)
        settings = _next_settings(run, progress.memory)
        if settings is None:
            raise StepOutOfMemoryError(
                f"Out of memory, and every fallback failed: {'; '.join(tried)}. Last error: {message} To use less memory: "
                "shorter sequences (--max-length), a smaller model, or LoRA (--use-peft)."
            )
        progress.memory = settings
        on_retry(message, settings)


@contextmanager
def explain_optimizer_out_of_memory() -> Iterator[None]:
    """Explain an out-of-memory error of the optimizer, which no retry can avoid.

    Raises:
        RunError: out of memory.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        raise RunError(
            f"Out of memory in the optimizer's update, where smaller batches do not help: {_first_line(error)} To use less "
            "memory: LoRA (--use-peft), 8-bit optimizer state (--optimizer adamw_8bit), or a smaller model."
        ) from error


def _free_memory(run: Run) -> None:
    run.model.zero_grad(set_to_none=True)
    gc.collect()
    if run.device.type == "cuda":
        torch.cuda.empty_cache()


def _next_settings(run: Run, memory: MemorySettings) -> MemorySettings | None:
    """The first fallback that applies; None if there is none, or if other processes share the computation."""
    if run.shards:
        return None
    return next(filter(None, (fallback(run, memory) for fallback in FALLBACKS)), None)


def _halve_micro_batches(run: Run, memory: MemorySettings) -> MemorySettings | None:
    size = min(memory.micro_batch_size or run.training.batch_size, run.training.batch_size)
    return replace(memory, micro_batch_size=size // 2) if size > 1 else None


def _halve_chunks(run: Run, memory: MemorySettings) -> MemorySettings | None:
    if memory.chunk_size is None or memory.chunk_size < 2 * SMALLEST_CHUNK:
        return None
    return replace(memory, chunk_size=memory.chunk_size // 2)


def _checkpoint_activations(run: Run, memory: MemorySettings) -> MemorySettings | None:
    if memory.gradient_checkpointing:
        return None
    try:
        checkpoint_activations(run.model)
    except UserError:  # this model does not support it
        return None
    return replace(memory, gradient_checkpointing=True)


FALLBACKS: tuple[Fallback, ...] = (_halve_micro_batches, _halve_chunks, _checkpoint_activations)


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n")[0] or type(error).__name__
