"""What a model is trained on: the loss of a batch, in parts that are backpropagated one by one.

A part may be all of a batch, a chunk of its tokens, or a segment of a recurrent computation; what is carried from one to
the next stays inside the objective. Shapes: B sequences of S tokens over a vocabulary of V.
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

    @cached_property
    def output_layer(self) -> OutputLayer | None:
        """By which the table of all logits, (B, S, V), is avoided; None where it cannot be."""
        with self.precision.autocast(next(self.model.parameters()).device):
            return find(self.model)

    def parts(self, batch: Batch) -> Iterator[Part]:
        yield Part(summed_cross_entropy(*self._before_loss(batch), batch.targets, self.precision.dtype))

    def score(self, batch: Batch) -> Score:
        nats, correct = score(*self._before_loss(batch), batch.targets, self.precision.dtype)
        return Score(nats.item(), int(correct), batch.valid_tokens())

    def _before_loss(self, batch: Batch) -> tuple[Tensor, Head | None]:
        """Hidden states (B, S, D) and the head that makes logits of them; or all logits (B, S, V), and None."""
        inputs = {"input_ids": batch.tokens}
        if batch.document_ids is not None:
            inputs["document_ids"] = batch.document_ids
        with self.precision.autocast(batch.tokens.device):
            if self.output_layer is None:
                return self.model(**inputs, use_cache=False).logits, None
            return self.output_layer.hidden_states(self.model, **inputs), self.output_layer.head()
