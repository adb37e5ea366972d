"""Training objectives: the loss of a batch, in parts that are backpropagated one by one.

A part may be a whole batch, a chunk of its tokens, or a segment of a recurrent computation. State carried from one part to
the next stays inside the objective. Shapes: B sequences of S tokens, width D, over a vocabulary of V.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Protocol

from torch import Tensor

from trainer.data import Batch
from trainer.device import Precision
from trainer.learning.cross_entropy import Head, score, summed_cross_entropy
from trainer.learning.output_layer import OutputLayer, find


@dataclass(frozen=True)
class Part:
    """A part of a batch's loss, backpropagated in one go.

    Attributes:
        loss: () sum over tokens, in nats, in float32.
        measured: other figures, by the name of their record field: () sums over tokens, detached. Records hold them per
            valid token.
    """

    loss: Tensor
    measured: Mapping[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class Score:
    """Cross-entropy in nats and number of correct predictions, summed over the valid tokens of a batch."""

    nats: float
    correct: int
    valid: int


class Objective(Protocol):
    """How an architecture is trained. All objectives share one training loop."""

    def parts(self, batch: Batch) -> Iterator[Part]:
        """Yield the parts of a batch's loss. The caller backpropagates each one before taking the next."""
        ...

    def score(self, batch: Batch) -> Score:
        """Return the score of a batch. The model is in evaluation mode."""
        ...


@dataclass(frozen=True)
class NextToken:
    """Next-token cross-entropy, for any causal language model of transformers."""

    model: Any
    precision: Precision

    @cached_property
    def output_layer(self) -> OutputLayer | None:
        """The output layer, used to avoid computing all logits (B, S, V) at once; None if the model does not allow it."""
        with self.precision.autocast(next(self.model.parameters()).device):
            return find(self.model)

    def parts(self, batch: Batch) -> Iterator[Part]:
        yield Part(summed_cross_entropy(*self._loss_inputs(batch), batch.targets, self.precision.dtype))

    def score(self, batch: Batch) -> Score:
        nats, correct = score(*self._loss_inputs(batch), batch.targets, self.precision.dtype)
        return Score(nats.item(), int(correct), batch.valid_tokens())

    def _loss_inputs(self, batch: Batch) -> tuple[Tensor, Head | None]:
        """Hidden states (B, S, D) and the head that turns them into logits; or all logits (B, S, V) and None."""
        inputs = {"input_ids": batch.tokens}
        if batch.document_ids is not None:
            inputs["document_ids"] = batch.document_ids
        with self.precision.autocast(batch.tokens.device):
            if self.output_layer is None:
                return self.model(**inputs, use_cache=False).logits, None
            return self.output_layer.hidden_states(self.model, **inputs), self.output_layer.head()
