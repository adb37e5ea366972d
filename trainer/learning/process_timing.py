"""How the processes of a run share a step: which is the slowest, and how long they communicate."""

from __future__ import annotations

import statistics
from typing import Any

import torch

from trainer.distributed.processes import Processes
from trainer.learning.step import StepResult


def of_step(
    processes: Processes, result: StepResult, seconds: float, peak_memory: int, sharded: bool
) -> dict[str, Any]:
    """The fields of a train record about all processes. All of them must take part.

    Processes that have finished wait for the slowest one. That one does not wait, so the time it spends on summing gradients
    is communication. With shards, communication overlaps with computation, so the two cannot be separated here.

    Args:
        seconds: of the step.
        peak_memory: of this process, in bytes.
    """
    if processes.count == 1:
        return {"peak_memory_bytes": peak_memory}
    own = torch.tensor([result.compute_seconds, result.sum_seconds, peak_memory], dtype=torch.float64)
    compute, summing, memory = torch.stack(processes.all_gather(own)).T.tolist()
    fields: dict[str, Any] = {"peak_memory_bytes": int(max(memory))}
    if sharded:
        return fields
    slowest = compute.index(max(compute))
    return fields | {
        "slowest": processes.names[slowest],
        "slowest_seconds": compute[slowest],
        "median_seconds": statistics.median(compute),
        "communication": min(summing) / seconds,
    }
