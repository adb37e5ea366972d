"""The memory of a step in chunks, from two short sequences: computing all chunks of a long one would take minutes.

From the chunk on that takes over as many tokens as its windows allow, each further chunk adds the same number of bytes: what
is stored of it, and in layers without a window what later chunks see of it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from trainer.attention.carry import windows_of
from trainer.learning.chunks import Chunked, ChunkSettings, groups
from trainer.learning.objective import Objective
from trainer.learning.offload import Offloaded


@dataclass(frozen=True)
class ChunkMemory:
    """Bytes of a step in chunks.

    Attributes:
        peak: of all tensors on the device.
        carry: keys and values that chunks take over, on the device, with their gradients.
        host: of tensors in the host's memory.
    """

    peak: int
    carry: int = 0
    host: int = 0

    def continued(self, later: ChunkMemory, chunks: float) -> ChunkMemory:
        """What the memory becomes if it grows on, from this one to the later one and this many times as far."""

        def grown(first: int, second: int) -> int:
            return int(second + chunks * max(0, second - first))

        return ChunkMemory(
            grown(self.peak, later.peak), grown(self.carry, later.carry), grown(self.host, later.host)
        )


def settings_of(objective: Objective) -> ChunkSettings | None:
    """How it is computed in chunks; None if it is not."""
    inner = objective.objective if isinstance(objective, Offloaded) else objective
    return inner.settings if isinstance(inner, Chunked) else None


Step = Callable[[Objective, int], ChunkMemory | None]


def memory(step: Step, objective: Objective, length: int) -> ChunkMemory | None:
    """The memory of a step, in chunks or not; None if it cannot be estimated.

    Args:
        step: the memory of a step with sequences of this many tokens.
        length: of the sequences.
    """
    if isinstance(objective, Offloaded):
        around = objective
        return memory(
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
    if settings.gradients == "exact" and settings.recompute and None not in reaches:
        parts = groups(count)
        stored = min(count, (len(parts) - 1) * min(ahead, len(parts[0])) + len(parts[0]))
        objective = replace(objective, settings=replace(settings, recompute=False))
    first, second = (step(objective, chunks * settings.size) for chunks in (short, longer))
    if first is None or second is None:
        return None
    return first.continued(second, (stored - longer) / (longer - short))
