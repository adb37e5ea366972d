"""The memory of a training step, from a model's configuration alone.

The step is taken on fake tensors by the code that trains (`trainer.survival.memory_estimate`). For models whose layers are all
alike it is taken with one layer and with two, and continued to all of them, which takes a tenth of the time.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from transformers import AutoModelForCausalLM

from trainer import building
from trainer.attention import huggingface
from trainer.config import DataSection, TrainConfig
from trainer.device import Precision
from trainer.learning.objective import Objective
from trainer.models import model_attention
from trainer.survival import memory_estimate
from trainer.survival.memory_estimate import MemoryEstimate, Trace

CausalLM: Any = AutoModelForCausalLM
LISTS = ("layer_types", "mlp_layer_types", "aios_windows")  # keys with an entry for each layer
BACKEND = "sdpa"  # needs the memory of the faster ones


@dataclass(frozen=True)
class StepMemory:
    """Estimates the memory of steps of one model.

    Attributes:
        model_config: of transformers.
        device: that the step is for; it need not exist here.
    """

    model_config: Any
    device: torch.device
    _short: dict[Any, Any] = field(default_factory=dict, compare=False, repr=False)

    def __call__(self, config: TrainConfig, length: int | None = None) -> MemoryEstimate:
        """The memory of a step.

        Args:
            length: tokens in a sequence, instead of data.max_length.

        Raises:
            UserError: the model cannot be trained as configured.
        """
        shape = (config.training.batch_size, length or config.data.max_length)
        layers = self.model_config.get_text_config(decoder=True).num_hidden_layers if self.uniform else 0
        if layers <= 2:
            return self._trace(config, shape, None).estimate(self.device)
        one, two = (self._trace(config, shape, count) for count in (1, 2))
        return _continued(one, two, layers).estimate(self.device)

    @cached_property
    def uniform(self) -> bool:
        """Whether all layers have the same weights, so that the memory of many follows from that of a few."""
        text = self.model_config.get_text_config(decoder=True)
        layers = getattr(text, "num_hidden_layers", None)
        if not layers or (getattr(text, "layer_types", None) and len({*text.layer_types}) > 2):
            return False
        sizes = [_parameters(with_layers(self.model_config, count)) for count in (1, 2, layers)]
        return bool(sizes[2] - sizes[1] == (layers - 2) * (sizes[1] - sizes[0]))

    def _trace(self, config: TrainConfig, shape: tuple[int, int], layers: int | None) -> Trace:
        model_config = with_layers(self.model_config, layers)
        windows = model_attention.requested_windows(config.model, self.model_config)
        huggingface.attach(model_config, backend=BACKEND, window=windows[:layers])
        precision = planned_precision(config)

        def build() -> tuple[Any, Objective]:
            built = building.build_for_estimate(
                config, model_config, precision, config.model.gradient_checkpointing, self.device
            )
            return built.network, built.objective

        # Steps in chunks of any length follow from the same short ones.
        of_this_step = (config.model_copy(update={"data": DataSection()}).model_dump_json(), shape[0], layers)
        short = self._short.setdefault(of_this_step, {})
        return memory_estimate.trace(build, config.training, self.device, shape, config.data.packing, short)


def planned_precision(config: TrainConfig) -> Precision:
    return Precision(torch.bfloat16 if config.training.amp else torch.float32)


def with_layers(model_config: Any, layers: int | None) -> Any:
    """A copy of a model's configuration, with its first layers only."""
    changed = copy.deepcopy(model_config)
    if layers is None:
        return changed
    text = changed.get_text_config(decoder=True)
    text.num_hidden_layers = layers
    for key in LISTS:
        if isinstance(entries := getattr(text, key, None), list):
            setattr(text, key, entries[:layers])
    return changed


def _parameters(model_config: Any) -> int:
    with torch.device("meta"):
        network = CausalLM.from_config(model_config, trust_remote_code=False)
    return sum(parameter.numel() for parameter in network.parameters())


def _continued(one: Trace, two: Trace, layers: int) -> Trace:
    """The trace of a model with this many layers, from those with one layer and with two.

    Weights, gradients and optimizer state grow by the same number of bytes with every layer, and so does the peak of the
    forward pass. That of the backward pass is at its start, where a layer adds its weights and stored activations, or at
    its end, where it adds its weights and gradients.
    """
    more = layers - 2

    def growth(name: str) -> int:
        first, second = getattr(one, name), getattr(two, name)
        return int(more * (second - first))

    of_weights, of_gradients, stored = growth("weights"), growth("gradients"), growth("stored")
    return Trace(
        weights=two.weights + of_weights,
        gradients=two.gradients + of_gradients,
        state=two.state + growth("state"),
        complete=two.complete,
        forward=two.forward + growth("forward"),
        backward=two.backward + stored,
        end=two.end + of_weights + of_gradients,
        logits=two.logits,
        stored=two.stored + stored,
        carry=two.carry + growth("carry"),
        host=two.host + growth("host"),
    )
