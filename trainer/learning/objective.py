"""Training objectives: the loss of a batch, in parts that are backpropagated one by one.

A part may be a whole batch, a chunk of its tokens, or a segment of a recurrent computation. State carried from one part to
the next stays inside the objective. Shapes: B sequences of S tokens, width D, over a vocabulary of V.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Protocol

import torch
from torch import Tensor

from trainer.attention import carry, huggingface
from trainer.attention.carry import Carry
from trainer.attention.kv_cache import cache_argument
from trainer.data import Batch
from trainer.device import Precision
from trainer.learning.cross_entropy import Head, score, summed_cross_entropy
from trainer.learning.output_layer import OutputLayer, find


@dataclass(frozen=True)
class Part:
    """A part of a batch's loss, backpropagated in one go.

    Attributes:
        loss: () sum over tokens, in nats, or over pairs of answers; in float32.
        measured: other figures, by the name of their record field: () sums over tokens or pairs, detached. Records hold
            their means.
        last: whether it is the last part of its batch.
    """

    loss: Tensor
    measured: Mapping[str, Tensor] = field(default_factory=dict)
    last: bool = True


@dataclass(frozen=True)
class Score:
    """Sums over the valid tokens of a batch, or over its pairs of answers.

    Attributes:
        nats: the loss.
        correct: number of correct predictions; 0 for pairs.
        valid: number of tokens or pairs.
        measured: other figures, by the name of their record field.
    """

    nats: float
    correct: int
    valid: int
    measured: Mapping[str, float] = field(default_factory=dict)


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
        with self.precision.autocast(next(self.model.parameters()).device), carry.suspended():
            return find(self.model)

    @property
    def config(self) -> Any:
        return self.model.config

    def draw(self, batch: Batch) -> None:
        """None: dropout draws its random numbers itself."""

    def advance(self, batch: Batch, past: Carry) -> None:
        self.forward(batch, past)

    def parts(self, batch: Batch, past: Carry | None = None, drawn: object = None) -> Iterator[Part]:
        hidden, head, output = self.forward(batch, past)
        loss = summed_cross_entropy(hidden, head, batch.targets, self.precision.dtype)
        if (router_loss := self.router_loss(output)) is None:
            yield Part(loss)
        else:
            router_loss = router_loss.float() * batch.valid_tokens()  # the step divides by the valid tokens
            yield Part(loss + router_loss, {"router_loss": router_loss.detach()})

    def score(self, batch: Batch, past: Carry | None = None) -> Score:
        hidden, head, _ = self.forward(batch, past)
        nats, correct = score(hidden, head, batch.targets, self.precision.dtype)
        return Score(nats.item(), int(correct), batch.valid_tokens())

    def forward(self, batch: Batch, past: Carry | None = None) -> tuple[Tensor, Head | None, Any]:
        """Hidden states (B, S, D) and the head that turns them into logits, or all logits (B, S, V) and None; the output."""
        cache = {} if past is None else {cache_argument(self.model): past}
        with self.precision.autocast(batch.tokens.device), huggingface.documents(batch.document_ids):
            if self.output_layer is None:
                output = self.model(input_ids=batch.tokens, use_cache=False, **cache)
                return output.logits, None, output
            hidden, output = self.output_layer.run(self.model, input_ids=batch.tokens, **cache)
            return hidden, self.output_layer.head(), output

    def router_loss(self, output: Any) -> Tensor | None:
        """What a mixture of experts with `output_router_logits` adds to its mean loss, as transformers does."""
        loss: Tensor | None = getattr(output, "aux_loss", None)
        if loss is None or not torch.is_tensor(loss):
            return None
        return router_loss_weight(self.model) * loss


def router_loss_weight(model: Any) -> float:
    """The factor of a mixture of experts' router loss.

    Raises:
        ValueError: the model has none.
    """
    for owner in (model, model.config, model.config.get_text_config()):
        for name in ("router_aux_loss_coef", "aux_loss_coef"):
            factor = getattr(owner, name, None)
            if factor is not None:
                return float(factor)
    raise ValueError(
        "it returns a router loss (output_router_logits), but has no factor for it (router_aux_loss_coef): set "
        "output_router_logits to false in config.json to train without the router loss"
    )
