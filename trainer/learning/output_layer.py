"""The output layer of a causal language model of transformers, taken apart from the rest.

For a loss that makes no table of all logits: the hidden states that the layer is given, and what the model does with its
logits afterwards.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from trainer.learning.cross_entropy import Head


@dataclass(frozen=True)
class OutputLayer:
    """A linear layer whose logits are scaled, then bent to stay below a cap; 1 and None for as they are."""

    linear: nn.Linear
    scale: float
    softcap: float | None

    def head(self) -> Head:
        """With the weights of this moment: where they are shared out over processes, they are whole only in a forward."""
        return Head(self.linear.weight, self.linear.bias, self.scale, self.softcap)

    def hidden_states(self, model: Any, **inputs: Any) -> Tensor:
        """What the model gives its output layer, (B, S, D), without running that."""
        seen: list[Tensor] = []

        def keep(hidden: Tensor) -> Tensor:
            seen.append(hidden)
            return hidden

        with _stand_in(self.linear, keep):
            model(use_cache=False, **inputs)
        [hidden] = seen
        return hidden


def find(model: Any) -> OutputLayer | None:
    """The output layer of a causal language model; None where it is no plain one, or its logits are changed in a way not known.

    What a model does with logits is seen by handing it some.
    """
    linear = model.get_output_embeddings()
    if type(linear) is not nn.Linear:
        return None
    settings = model.config.get_text_config()
    factor = getattr(settings, "logit_scale", None) or 1.0  # Cohere
    divisor = getattr(settings, "logits_scaling", None) or 1.0  # Granite
    layer = OutputLayer(linear, factor / divisor, getattr(settings, "final_logit_softcapping", None))

    weight = linear.weight
    logits = torch.linspace(-99, 99, len(weight), dtype=weight.dtype, device=weight.device).expand(1, 1, -1)
    expected = logits.float() * layer.scale
    if layer.softcap:
        expected = layer.softcap * torch.tanh(expected / layer.softcap)
    training = model.training
    model.eval()  # draws no random numbers
    with torch.no_grad(), _stand_in(linear, lambda hidden: logits.clone()):
        found = model(
            input_ids=torch.zeros(1, 1, dtype=torch.long, device=weight.device), use_cache=False
        ).logits
    model.train(training)
    tolerance = 4 * torch.finfo(weight.dtype).eps
    return layer if torch.allclose(found.float(), expected, rtol=tolerance, atol=tolerance) else None


@contextmanager
def _stand_in(linear: nn.Linear, forward: Callable[[Tensor], Tensor]) -> Iterator[None]:
    """Have something else called in the layer's place."""
    own = vars(linear).get("forward")  # whoever hooks into modules may have put one there
    vars(linear)["forward"] = forward
    try:
        yield
    finally:
        del vars(linear)["forward"]
        if own is not None:
            vars(linear)["forward"] = own
