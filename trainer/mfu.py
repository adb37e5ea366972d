"""Model FLOPs utilization (MFU): the fraction of a GPU's published peak that training a model uses.

The FLOPs of the model, per token:

* 6 for each weight that a token is multiplied with: 2 forward, 4 backward. Tables that are only indexed (token and
  position embeddings) are not multiplied; a table that is also the output layer counts once. Biases and norms are
  ignored (0.1% of GPT-2 124M). A frozen weight (LoRA) counts 2 less: it has no gradient of its own.
* 12 * H * D * min(S, W) for the attention of each layer with H heads of size D: its two products, for as many keys as the
  window lets a token see. As usual, neither the causal mask nor document boundaries reduce this.

What activation checkpointing recomputes in the backward pass does not count.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from trainer.attention.call_trace import TracedCall
from trainer.attention.pattern import Windows

PEAKS = Path(__file__).with_name("peaks.json")


@dataclass(frozen=True)
class Peak:
    """The peak of a device.

    Attributes:
        flops: dense FLOP/s; None if unknown.
        source: where it is published.
        reason: why it is unknown.
    """

    flops: float | None = None
    source: str | None = None
    reason: str | None = None


@dataclass(frozen=True)
class Utilization:
    """The FLOPs of a token and the peak of the device.

    Attributes:
        flops_per_token: forward and backward; None if unknown.
        reason: why there is no MFU; None if there is one.
    """

    flops_per_token: int | None
    peak: Peak
    reason: str | None

    def mfu(self, tokens_per_second: float) -> float | None:
        """The MFU, between 0 and 1; None if unknown."""
        if self.reason or self.flops_per_token is None or self.peak.flops is None:
            return None
        return self.flops_per_token * tokens_per_second / self.peak.flops

    def to_json(self) -> dict[str, Any]:
        """The fields for a record of the metrics file."""
        return {
            "flops_per_token": self.flops_per_token,
            "peak_flops": self.peak.flops,
            "peak_source": self.peak.source,
            "reason": self.reason,
        }


UNKNOWN = Utilization(None, Peak(), "not computed")


def utilization(
    network: Any, attention_width: int | tuple[int, ...], windows: Windows, length: int, peak: Peak
) -> Utilization:
    """The utilization of a model that is trained on sequences of this length. See `training_flops`."""
    if getattr(network.config.get_text_config(), "num_experts_per_tok", None):
        reason = "a token uses only some of the experts, and their share of the weights is not known"
        return Utilization(None, peak, reason)
    if getattr(network.config, "halt_max_steps", None):
        reason = "a token uses the same weights many times, sometimes without a backward pass"
        return Utilization(None, peak, reason)
    try:
        cost = training_flops(multiplied_weights(network), attention_width, windows, length)
        cost -= 2 * multiplied_weights(network, frozen=True)
    except Exception as error:  # noqa: BLE001 - the code of any model runs here, and a figure must not end a run
        return Utilization(None, peak, f"the FLOPs of this model cannot be counted ({type(error).__name__})")
    return Utilization(cost, peak, peak.reason)


def training_flops(
    weights: int, attention_width: int | tuple[int, ...], windows: Windows, length: int
) -> int:
    """FLOPs per token, forward and backward.

    Args:
        weights: number of weights that a token is multiplied with.
        attention_width: H * D, of all heads of a layer; one for all layers, or one for each.
        windows: of each layer; None for no window.
        length: S, tokens in a sequence.
    """
    widths = (attention_width,) * len(windows) if isinstance(attention_width, int) else attention_width
    attended = zip(widths, windows, strict=True)
    return 6 * weights + 12 * sum(width * min(length, window or length) for width, window in attended)


def layer_widths(calls: tuple[TracedCall, ...]) -> tuple[int, ...] | None:
    """The attention width of each layer, from the calls of one forward pass; None if layers are not called once each."""
    layers = [call.layer for call in calls]
    if layers != list(range(len(layers))) or not layers:
        return None
    return tuple(call.product_width for call in calls)


def multiplied_weights(network: Any, frozen: bool = False) -> int:
    """Number of weights, or frozen weights, that a token is multiplied with: matrices that are not only indexed."""
    output = network.get_output_embeddings()
    tables = {id(module.weight) for module in network.modules() if isinstance(module, nn.Embedding)}
    tables -= {id(output.weight)} if output is not None else set()
    matrices = (p for p in network.parameters() if p.ndim >= 2 and id(p) not in tables)
    return sum(p.numel() for p in matrices if not (frozen and p.requires_grad))


def peak(gpu: str | None, arithmetic: str) -> Peak:
    """The published peak of a GPU.

    Args:
        gpu: its name as the driver reports it; None for a CPU.
        arithmetic: of the matrix products: bfloat16, float16, tf32 or float32.
    """
    if gpu is None:
        return Peak(reason="no peak is published for CPUs")
    for row in json.loads(PEAKS.read_text(encoding="utf-8"))["gpus"]:
        if re.fullmatch(row["name"], gpu):
            teraflops = row[arithmetic]
            if teraflops is None:
                return Peak(reason=f"no peak for {arithmetic} is published for {gpu}")
            return Peak(teraflops * 1e12, row["source"])
    return Peak(reason=f"the peak of {gpu} is not known")
