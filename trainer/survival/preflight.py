"""Before a run loads weights: the memory that its step needs, against the memory of its device."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any

import psutil
import torch

from trainer.config import TrainingSection
from trainer.errors import UserError
from trainer.learning.objective import Objective
from trainer.say import Say
from trainer.survival import memory_estimate
from trainer.survival.memory_estimate import MemoryEstimate, gib

MOST_TOKENS = 1 << 18  # of a step on fake tensors; larger batches are extrapolated


@dataclass(frozen=True)
class Preflight:
    """The memory that a run needs, and the memory of its device.

    Attributes:
        estimate: None if it cannot be made at all.
        free: bytes that are free on the device.
        used: bytes that this process uses on it already.
        device: its name.
    """

    estimate: MemoryEstimate | None
    free: int
    used: int
    device: str

    def check(self, say: Say, force: bool) -> None:
        """Report the estimate, and refuse a run that does not fit.

        Args:
            force: do not refuse it.

        Raises:
            UserError: it does not fit.
        """
        if self.estimate is None:
            say("INFO: no memory estimate: the memory of this model cannot be estimated")
            return
        least = "about" if self.estimate.activations is not None else "at least"
        say(f"INFO: memory: a step needs {least} {self.estimate}; {self.device} has {gib(self.free)} free")
        if self.estimate.activations is None:
            say(
                "INFO: memory: the activations cannot be estimated: their sizes in this model depend on its input"
            )
        if self.estimate.total > self.free and not force:
            raise UserError(
                f"A step needs {least} {gib(self.estimate.total)} of memory, but {self.device} has {gib(self.free)} free. "
                f"{self.estimate.advice(self.free)} Use --force to start anyway."
            )

    def to_json(self) -> dict[str, Any]:
        """The `memory` field of the run_start record."""
        need = self.estimate and asdict(self.estimate)
        return {"need": need, "free": self.free, "used": self.used, "device": self.device}


def of_step(
    build: Callable[[], tuple[Any, Objective]],
    training: TrainingSection,
    device: torch.device,
    shape: tuple[int, int],
    packed: bool,
    shards: int,
) -> Preflight:
    """Compare the estimate for a step with the free memory of a device. The arguments are those of `estimate`."""

    def estimate(rows: int) -> MemoryEstimate:
        return memory_estimate.estimate(build, training, device, (rows, shape[1]), packed, shards)

    try:
        estimated: MemoryEstimate | None = _bounded(estimate, *shape)
    except UserError:
        raise
    except Exception:  # noqa: BLE001 - the code of any model runs here; if it cannot be built, building it says why
        estimated = None
    if device.type == "cuda":
        return Preflight(estimated, torch.cuda.mem_get_info(device)[0], 0, str(device))
    used = psutil.Process().memory_info().rss
    return Preflight(estimated, psutil.virtual_memory().available, used, "this machine")


def _bounded(estimate: Callable[[int], MemoryEstimate], rows: int, length: int) -> MemoryEstimate:
    """The estimate for a number of rows. Activations of a huge batch are extrapolated from two smaller ones: they grow
    linearly with its rows.

    A step on fake tensors takes time in proportion to its tokens, because the loss is computed in chunks.
    """
    few = max(1, MOST_TOKENS // length // 2)
    if rows <= 2 * few:
        return estimate(rows)
    small, large = estimate(few), estimate(2 * few)
    if small.activations is None or large.activations is None:
        return large
    each = max(0, large.activations - small.activations) / few
    return replace(large, activations=large.activations + int(each * (rows - 2 * few)))
