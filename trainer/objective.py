"""What a model is trained on: the loss of a batch, in parts that are backpropagated one by one.

A part may be all of a batch, a chunk of its tokens, or a segment of a recurrent computation; what is carried from one to
the next stays inside the objective. Shapes: B sequences of S tokens over a vocabulary of V.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from trainer.data import IGNORED, Batch
from trainer.device import Precision


@dataclass(frozen=True)
class Part:
    """What is backpropagated at once.

    Attributes:
        loss: () sum over tokens, in nats, in float32.
        measured: figures beside the loss, by the name they have in the records: () sums over tokens, without a graph.
            Records hold them per valid token.
    """

    loss: Tensor
    measured: Mapping[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class Score:
    """How well a batch is predicted: cross-entropy in nats and correct guesses, summed over its valid tokens."""

    nats: float
    correct: int
    valid: int


class Objective(Protocol):
    """How an architecture learns. One training loop serves all of them."""

    def parts(self, batch: Batch) -> Iterator[Part]:
        """The parts of a batch's loss; the caller backpropagates each before it asks for the next."""
        ...

    def score(self, batch: Batch) -> Score:
        """How well the model, in its evaluation mode, predicts a batch."""
        ...


@dataclass(frozen=True)
class NextToken:
    """Cross-entropy of the next token, for any causal language model of transformers."""

    model: Any
    precision: Precision

    def parts(self, batch: Batch) -> Iterator[Part]:
        yield Part(summed_loss(self._logits(batch), batch.targets))

    @torch.no_grad()
    def score(self, batch: Batch) -> Score:
        logits = self._logits(batch)
        correct = (logits.argmax(-1) == batch.targets).sum()
        return Score(summed_loss(logits, batch.targets).item(), int(correct), batch.valid_tokens())

    def _logits(self, batch: Batch) -> Tensor:
        """(B, S, V), in the precision of the run."""
        packing = {} if batch.document_ids is None else {"document_ids": batch.document_ids}
        with self.precision.autocast(batch.tokens.device):
            output: Tensor = self.model(input_ids=batch.tokens, use_cache=False, **packing).logits
        return output


def summed_loss(logits: Tensor, targets: Tensor) -> Tensor:
    """Sum of cross-entropies in nats, in float32. Targets (B, S) are the next tokens already."""
    return F.cross_entropy(
        logits.flatten(0, 1).float(), targets.flatten(), ignore_index=IGNORED, reduction="sum"
    )
