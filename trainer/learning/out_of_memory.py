"""When memory runs out in the midst of a step: its gradients once more, computed in less."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import torch

from trainer.errors import RunError, UserError
from trainer.learning.state import Economy, Run
from trainer.models.model import checkpoint_activations
from trainer.random_state import random_state, restore_random_state

Result = TypeVar("Result")
Tell = Callable[[str, Economy], None]  # what torch said, and how the step is to fit now

# What CPU allocators, CUDA and its libraries say, each in its own type of error.
SAID = (
    "DefaultCPUAllocator",
    "CUDA out of memory",
    "CUDA error: out of memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_ALLOC_FAILED",
    "std::bad_alloc",
    "could not create a memory",  # oneDNN
)


class NothingLeftToSave(RunError):  # noqa: N818
    """A step does not fit into memory in any way that is known."""


def ran_out(error: BaseException) -> bool:
    """Whether memory ran out."""
    return isinstance(error, (torch.OutOfMemoryError, MemoryError)) or (
        isinstance(error, RuntimeError) and any(said in str(error) for said in SAID)
    )


def in_less(run: Run, compute: Callable[[], Result], tell: Tell) -> Result:
    """What `compute` gives; where memory runs out, given again with more economy, which is kept from then on.

    Gradients are gone in between, and random numbers drawn once more: nothing of an attempt that failed is left.

    Raises:
        NothingLeftToSave: it does not fit however it is computed.
    """
    random = random_state(run.device)
    tried = []
    while True:
        tried.append(str(run.economy))
        try:
            return compute()
        except (MemoryError, RuntimeError) as error:
            if not ran_out(error):
                raise
            said = _line(error)
        # Only out of the clause above the error is gone, and with it the activations that its frames hold.
        run.model.zero_grad(set_to_none=True)
        gc.collect()
        if run.device.type == "cuda":
            torch.cuda.empty_cache()
        restore_random_state(random, run.device)
        if run.shards or not any(saving(run) for saving in SAVINGS):
            raise NothingLeftToSave(
                f"Memory ran out, and there is nothing left to save it by. Tried: {'; '.join(tried)}. The last time: {said} "
                "Shorter sequences (--max-length), a smaller model, or adapters in place of all weights (LoRA) need less."
            )
        tell(said, run.economy)


@contextmanager
def nothing_to_save() -> Iterator[None]:
    """Where memory that runs out cannot be saved by other means.

    Raises:
        RunError: it ran out.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not ran_out(error):
            raise
        raise RunError(
            f"Memory ran out while the optimizer moved the weights, which smaller batches do not change: {_line(error)} "
            "Adapters in place of all weights (LoRA), an 8-bit optimizer or a smaller model need less."
        ) from error


def _line(error: Exception) -> str:
    return str(error).strip().split("\n")[0] or type(error).__name__


def _smaller_batches(run: Run) -> bool:
    sequences = min(run.economy.sequences or run.training.batch_size, run.training.batch_size)
    if sequences > 1:
        run.economy.sequences = sequences // 2
    return sequences > 1


def _checkpointed_activations(run: Run) -> bool:
    if run.economy.checkpointed:
        return False
    try:
        checkpoint_activations(run.model)
    except UserError:  # this model cannot
        return False
    run.economy.checkpointed = True
    return True


# In this order, each as often as it finds something to save.
SAVINGS: tuple[Callable[[Any], bool], ...] = (_smaller_batches, _checkpointed_activations)
