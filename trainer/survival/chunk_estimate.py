"""The peak memory of a step in chunks, from two short sequences: computing all chunks of a long one would take minutes.

From the chunk on that takes over as many tokens as its windows allow, each further chunk adds the same number of bytes: what
is stored of it, and in layers without a window what later chunks see of it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from trainer.attention.carry import windows_of
from trainer.learning.chunks import Chunked, groups
from trainer.learning.objective import Objective
from trainer.learning.offload import Offloaded


def peak(step: Callable[[Objective, int], int | None], objective: Objective, length: int) -> int | None:
    """The peak of a step, in bytes, in chunks or not; None if it cannot be estimated.

    Args:
        step: the peak of a step with sequences of this many tokens.
        length: of the sequences.
    """
    if isinstance(objective, Offloaded):
        around = objective
        return peak(
            lambda inner, tokens: step(replace(around, objective=inner), tokens), objective.objective, length
        )
    if not isinstance(objective, Chunked):
        return step(objective, length)
    settings = objective.settings
    reaches = [
        settings.limit if window is None else window - 1 for window in windows_of(objective.objective.config)
    ]
    ahead = max(-(-reach // settings.size) for reach in (*reaches, 0) if reach is not None)
    short, longer = ahead + 2, ahead + 4
    count = -(-length // settings.size)
    if count <= longer:
        return step(objective, length)
    stored = count
    if settings.recompute and None not in reaches:
        parts = groups(count)
        stored = min(count, (len(parts) - 1) * min(ahead, len(parts[0])) + len(parts[0]))
        objective = replace(objective, settings=replace(settings, recompute=False))
    peaks = [step(objective, chunks * settings.size) for chunks in (short, longer)]
    if peaks[0] is None or peaks[1] is None:
        return None
    growth = max(0, peaks[1] - peaks[0]) / (longer - short)
    return int(peaks[1] + growth * (stored - longer))
