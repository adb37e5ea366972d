"""The proof, by measuring memory, that grouped heads without a window need no S x S table of weights."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from trainer.attention.backend import Run
from trainer.attention.request import AttentionRequest, Options

HEADS, HEAD_DIM = 2, 16
# A GPU gets more tokens, because `banded` computes more rows of the table at a time there.
LENGTHS = {"cpu": 1024, "cuda": 8192}
# The most memory that one forward and backward pass may need, in tables. Plain matrix products need 3 in float32 and 6 in half precision;
# torch's kernels need 0.1 to 0.4, and `banded` 0.2 to 1.3 (measured on a CPU, 1024 tokens).
TABLES = 2.0


@dataclass(frozen=True)
class MemoryCase:
    """Twice as many query heads as key heads, and no window. `name` is the feature that the case proves."""

    name: str = "gqa"

    def request(self, device: str, dtype: str) -> AttentionRequest:
        """The case as a backend's `reasons_against` takes it."""
        length = _length(device)
        return AttentionRequest(
            device, dtype, HEAD_DIM, HEADS, HEADS // 2, query_length=length, key_length=length
        )

    def problem(self, run: Run, device: str, dtype: str) -> str | None:
        """A problem if one forward and backward pass needs too much memory, else None. Does not catch the backend's errors."""
        length = _length(device)
        table = HEADS * length * length * getattr(torch, dtype).itemsize
        used = _peak(run, device, dtype, length)
        if used <= TABLES * table:
            return None
        return f"stores S x S weights: {used >> 20} MiB for {length} tokens, where one table has {table >> 20} MiB"


def _length(device: str) -> int:
    return LENGTHS["cpu" if device == "cpu" else "cuda"]


def _peak(run: Run, device: str, dtype: str, length: int) -> int:
    """Bytes allocated at the peak, besides the inputs."""
    q, k, v = (
        torch.randn(
            1, heads, length, HEAD_DIM, device=device, dtype=getattr(torch, dtype), requires_grad=True
        )
        for heads in (HEADS, HEADS // 2, HEADS // 2)
    )

    def step() -> None:
        torch.autograd.grad(run(q, k, v, Options(None, None, HEAD_DIM**-0.5)).sum(), (q, k, v))

    if device != "cpu":
        before = torch.cuda.memory_allocated(device)
        torch.cuda.reset_peak_memory_stats(device)
        step()
        return torch.cuda.max_memory_allocated(device) - before
    activities = [torch.profiler.ProfilerActivity.CPU]
    with torch.profiler.profile(activities=activities, profile_memory=True) as profile:
        step()
    events = [event for event in profile.profiler.kineto_results.events() if event.name() == "[memory]"]
    allocated = peak = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        allocated += event.nbytes()
        peak = max(peak, allocated)
    return peak
