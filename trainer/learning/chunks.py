"""Training on long sequences in chunks: a chunk's activations are all that is in memory, and the carry.

The loss is that of the whole sequence, whatever the size of the chunks: see `attention.carry`. Gradients are one of

* `truncated`: each chunk is backpropagated by itself. No gradient reaches the tokens of earlier chunks.
* `exact`: those of the whole sequence. A first pass without gradients stores the carry of every chunk; then the chunks run
  again, backward from the last, and receive the gradients of the keys and values that later chunks took over. This costs one
  more forward pass, as gradient checkpointing does. Without a window this is SeCO (arXiv:2505.16710).

Stored carries of exact gradients grow with the sequence. With `recompute`, only those of every √n-th chunk are kept, and
the others are computed again from them, at the cost of one more forward pass (Chen et al. 2016, arXiv:1604.06174, for layers).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal, Protocol

import torch
from torch import Tensor

from trainer.attention.carry import Carry, windows_of
from trainer.data import Batch
from trainer.learning.objective import Objective, Part, Score
from trainer.learning.offload import Offloaded
from trainer.random_state import RandomStates, random_state, restore_random_state

Gradients = Literal["truncated", "exact"]


class ChunkObjective(Protocol):
    """An objective that can compute a chunk of a batch, with a carry. The documents of a chunk are those of all so far."""

    @property
    def config(self) -> object:
        """The configuration of the model."""
        ...

    def draw(self, batch: Batch) -> Tensor | None:
        """Random numbers that the loss of a whole batch needs, (B, S)."""
        ...

    def advance(self, batch: Batch, past: Carry) -> None:
        """Compute a chunk for its carry alone."""
        ...

    def parts(
        self, batch: Batch, past: Carry | None = None, drawn: Tensor | None = None
    ) -> Iterator[Part]: ...

    def score(self, batch: Batch, past: Carry | None = None) -> Score: ...


@dataclass(frozen=True)
class ChunkSettings:
    """How chunks are trained.

    Attributes:
        size: tokens in a chunk.
        recompute: keep only every √n-th carry of exact gradients.
        limit: the number of tokens that layers without a window take over; None for all.
        on_host: store carries in the host's memory.
    """

    size: int
    gradients: Gradients = "truncated"
    recompute: bool = False
    limit: int | None = None
    on_host: bool = False


@dataclass(frozen=True)
class Chunked:
    """An objective whose sequences are computed in chunks."""

    objective: ChunkObjective
    settings: ChunkSettings

    def parts(self, batch: Batch) -> Iterator[Part]:
        drawn = self.objective.draw(batch)
        if batch.tokens.shape[1] <= self.settings.size:
            yield from self.objective.parts(batch, None, drawn)
        elif self.settings.gradients == "exact":
            yield from self._exact(batch, drawn)
        else:
            carry = self._carry(batch)
            for chunk in range(carry.count):
                yield from self._parts(batch, drawn, carry, chunk)
                carry.forget(chunk - carry.reach)

    @torch.no_grad()
    def score(self, batch: Batch) -> Score:
        carry = self._carry(batch)
        scores = []
        for chunk in range(carry.count):
            with carry.at(chunk):
                scores.append(self.objective.score(_of_chunk(batch, carry.slice(chunk)), carry))
            carry.forget(chunk - carry.reach)
        return Score(
            sum(score.nats for score in scores),
            sum(score.correct for score in scores),
            sum(score.valid for score in scores),
        )

    def _carry(self, batch: Batch, gradients: bool = False) -> Carry:
        settings = self.settings
        return Carry(
            windows_of(self.objective.config),
            settings.size,
            batch.tokens.shape[1],
            gradients=gradients,
            limit=settings.limit,
            on_host=settings.on_host,
        )

    def _parts(self, batch: Batch, drawn: Tensor | None, carry: Carry, chunk: int) -> Iterator[Part]:
        place = carry.slice(chunk)
        of_chunk = None if drawn is None else drawn[:, place]
        last = chunk == (0 if self.settings.gradients == "exact" else carry.count - 1)
        with carry.at(chunk):
            for part in self.objective.parts(_of_chunk(batch, place), carry, of_chunk):
                yield replace(part, last=part.last and last)

    def _exact(self, batch: Batch, drawn: Tensor | None) -> Iterator[Part]:
        carry, device = self._carry(batch, gradients=True), batch.tokens.device
        parts = groups(carry.count) if self.settings.recompute else [range(carry.count)]
        # Each chunk draws the same random numbers, for dropout, whenever it is computed.
        random = RandomStates(carry.count, device)
        for group in parts:
            for chunk in group:
                random.save(chunk)
                if chunk < carry.count - 1:
                    self._advance(batch, carry, chunk)
                if group is not parts[-1]:
                    _forget_in_group(carry, group, chunk)
        after = None
        for group in reversed(parts):
            for chunk in group[:-1] if group is not parts[-1] else ():
                random.restore(chunk)
                self._advance(batch, carry, chunk)
            for chunk in reversed(group):
                random.restore(chunk)
                yield from self._parts(batch, drawn, carry, chunk)
                after = after or random_state(device)  # the last chunk is the first here
                carry.forget(chunk)
        if after:
            restore_random_state(after, device)

    @torch.no_grad()
    def _advance(self, batch: Batch, carry: Carry, chunk: int) -> None:
        with carry.at(chunk):
            self.objective.advance(_of_chunk(batch, carry.slice(chunk)), carry)


def in_chunks_of(objective: Objective, size: int | None) -> Objective:
    """The objective with chunks of another size; unchanged if it has none."""
    if size is None:
        return objective
    if isinstance(objective, Offloaded):
        return replace(objective, objective=in_chunks_of(objective.objective, size))
    if not isinstance(objective, Chunked):
        return objective
    return replace(objective, settings=replace(objective.settings, size=size))


def groups(count: int) -> list[range]:
    """The chunks in about √n groups of √n."""
    size = max(1, math.isqrt(count - 1) + 1)
    return [range(first, min(first + size, count)) for first in range(0, count, size)]


def _forget_in_group(carry: Carry, group: range, chunk: int) -> None:
    """In the first pass, keep only what the next group starts from."""
    if (done := chunk - carry.reach) in group:
        carry.forget(done)


def _of_chunk(batch: Batch, place: slice) -> Batch:
    """A chunk of a batch, with the documents of all tokens so far."""
    ids = batch.document_ids
    return Batch(
        batch.tokens[:, place], batch.targets[:, place], None if ids is None else ids[:, : place.stop]
    )
