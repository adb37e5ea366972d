"""Training objective of HRM ACT v1: deep supervision of its segments, and Q-learning of when to halt.

Each segment is one part. Its loss per token is the next-token cross-entropy plus half the binary cross-entropies of the two
Q-values: the target of halting is whether the prediction is right, the target of continuing comes from the Q-values of the
next segment. The next segment is therefore computed before a part is yielded, so two graphs are alive at a time.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from trainer.attention.carry import Carry as KeysAndValues
from trainer.data import IGNORED, Batch
from trainer.device import Precision
from trainer.hrm.halting import continue_target, halts, minimum_segments, q_loss, weight_of
from trainer.hrm.model import Carry, Segment
from trainer.learning.objective import Part, Score

LOGITS = 2**24  # in a chunk: 64 MB in float32


@dataclass(frozen=True)
class DeepSupervision:
    """The loss of an `HRMForCausalLM`.

    A position that has halted is no longer supervised. All segments are computed nevertheless: exploration keeps some
    positions of nearly every batch active, and these attend to all others.
    """

    model: Any
    precision: Precision

    @property
    def config(self) -> Any:
        return self.model.config

    def draw(self, batch: Batch) -> Tensor:
        """The fewest segments of each position."""
        return minimum_segments(batch.targets, self.config.halt_max_steps, self.config.halt_exploration_prob)

    def advance(self, batch: Batch, past: KeysAndValues) -> None:
        carry = Carry()
        for _ in range(self.config.halt_max_steps):
            carry = self._segment(batch, carry, past).carry

    def parts(
        self, batch: Batch, past: KeysAndValues | None = None, drawn: Tensor | None = None
    ) -> Iterator[Part]:
        maximum: int = self.config.halt_max_steps
        at_least = self.draw(batch) if drawn is None else drawn
        active = batch.targets != IGNORED
        now = self._segment(batch, Carry(), past)
        for number in range(1, maximum + 1):
            last = number == maximum
            after = now if last else self._segment(batch, now.carry, past)
            halting = halts(now.q_halt, now.q_continue) & (at_least <= number) | last
            weight = active * weight_of(number, maximum, halting)
            nats, correct = self._predicted(now.hidden, batch)
            bce_halt = q_loss(now.q_halt, correct)
            bce_continue = torch.zeros_like(bce_halt)  # after the last segment there is no choice
            if not last:
                target = continue_target(after.q_halt, after.q_continue, must_halt=number + 1 == maximum)
                bce_continue = q_loss(now.q_continue, target.detach())
            measured = {"ce": nats, "bce_halt": bce_halt, "bce_continue": bce_continue}
            sums = {name: (weight * values).sum() for name, values in measured.items()}
            loss = sums["ce"] + (sums["bce_halt"] + sums["bce_continue"]) / 2
            sums["used_segments"] = active.sum()
            yield Part(loss, {name: total.detach() for name, total in sums.items()}, last)
            active, now = active & ~halting, after

    @torch.no_grad()
    def score(self, batch: Batch, past: KeysAndValues | None = None) -> Score:
        """The score of the prediction that each position makes when it halts."""
        with self.precision.autocast(batch.tokens.device):
            answer, _ = self.model.think(batch.tokens, past_key_values=past, **_packing(batch))
        nats, correct = self._predicted(answer, batch)
        return Score(nats.sum().item(), int(correct.sum()), batch.valid_tokens())

    def _segment(self, batch: Batch, carry: Carry, past: KeysAndValues | None) -> Segment:
        with self.precision.autocast(batch.tokens.device):
            segment: Segment = self.model.segment(
                batch.tokens, carry, past_key_values=past, **_packing(batch)
            )
        return segment

    def _predicted(self, hidden: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        """Cross-entropy in nats, and whether the most likely token is right: (B, S), 0 for tokens without a target.

        If the logits do not fit into one chunk, the backward pass recomputes them chunk by chunk.
        """
        head, shape = self.model.lm_head, batch.targets.shape
        size = max(1, LOGITS // head.out_features)
        pieces = zip(
            *(torch.split(x, size) for x in (hidden.flatten(0, 1), batch.targets.flatten())), strict=True
        )
        with self.precision.autocast(hidden.device):
            if shape.numel() <= size:
                results = [_predictions(head, *piece) for piece in pieces]
            else:
                results = [checkpoint(_predictions, head, *piece, use_reentrant=False) for piece in pieces]
        nats, correct = (torch.cat(each).view(shape) for each in zip(*results, strict=True))
        return nats, correct


def _predictions(head: Any, hidden: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    logits = head(hidden).float()
    nats = F.cross_entropy(logits, targets, ignore_index=IGNORED, reduction="none")
    return nats, logits.argmax(-1) == targets


def _packing(batch: Batch) -> dict[str, Tensor]:
    return {} if batch.document_ids is None else {"document_ids": batch.document_ids}
