"""The output layer of a causal language model of transformers, separated from the rest of the model.

A loss that does not compute all logits at once needs the hidden states that go into the layer, and what the model does with
the logits that come out.
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
    """A linear layer whose logits are scaled, then softcapped. A scale of 1 and a softcap of None leave them unchanged."""

    linear: nn.Linear
    scale: float
    softcap: float | None

    def head(self) -> Head:
        """The head with the current weights. Sharded weights are gathered only during a forward pass."""
        return Head(self.linear.weight, self.linear.bias, self.scale, self.softcap)

    def run(self, model: Any, **inputs: Any) -> tuple[Tensor, Any]:
        """The input of the output layer, (B, S, D), and the model's output with that in place of its logits."""
        inputs_seen: list[Tensor] = []

        def capture(hidden: Tensor) -> Tensor:
            inputs_seen.append(hidden)
            return hidden

        with _forward_replaced(self.linear, capture):
            output = model(use_cache=False, **inputs)
        [hidden] = inputs_seen
        return hidden, output


def find(model: Any) -> OutputLayer | None:
    """Return the output layer of a causal language model.

    None if it is not an `nn.Linear`, if the model changes its logits in an unknown way, or if that cannot be found out. It
    is tested by replacing the layer's output with known logits and comparing the model's output with the expected result.
    """
    try:
        return _find(model)
    except Exception:  # noqa: BLE001 - the code of any model runs here; without an output layer all logits are computed
        return None


def _find(model: Any) -> OutputLayer | None:
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
    model.eval()  # so that dropout draws no random numbers
    try:
        with torch.no_grad(), _forward_replaced(linear, lambda hidden: logits.clone()):
            found = model(
                input_ids=torch.zeros(1, 1, dtype=torch.long, device=weight.device), use_cache=False
            ).logits
    finally:
        model.train(training)
    tolerance = 4 * torch.finfo(weight.dtype).eps
    return layer if torch.allclose(found.float(), expected, rtol=tolerance, atol=tolerance) else None


@contextmanager
def _forward_replaced(linear: nn.Linear, forward: Callable[[Tensor], Tensor]) -> Iterator[None]:
    """While entered, the layer's forward is replaced."""
    own = vars(linear).get("forward")  # set if another library has replaced it already
    vars(linear)["forward"] = forward
    try:
        yield
    finally:
        del vars(linear)["forward"]
        if own is not None:
            vars(linear)["forward"] = own
