"""Model FLOPs utilization: the share of a GPU's stated peak that training a model puts to use.

What counts as a FLOP of the model, for each token:

* 6 for each weight that a token is multiplied with: 2 forward, 4 backward. Tables that are only looked up in (token and
  position embeddings) are not multiplied with; a table that is the output layer, too, counts once. Biases and norms are
  left out (0.1% of GPT-2 124M). 2 less for a weight that is frozen (LoRA): it has no gradient of its own.
* 12 * H * D * min(S, W) for the attention of each layer with H heads of D: its two products, for as many keys as the
  window lets a token see. As is usual, the causal half is not taken off, and neither are the limits of documents.

What the backward pass computes again (activation checkpointing) is no work of the model's, and does not count.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from trainer.attention.pattern import Windows

PEAKS = Path(__file__).with_name("peaks.json")


@dataclass(frozen=True)
class Peak:
    """What a device can do.

    Attributes:
        flops: a second, dense; None where it is not known.
        source: who says so.
        reason: why it is not known.
    """

    flops: float | None = None
    source: str | None = None
    reason: str | None = None


@dataclass(frozen=True)
class Utilization:
    """What a token costs, and what the device can do.

    Attributes:
        flops_per_token: forward and backward; None where it is not known.
        reason: why there is no MFU; None where there is one.
    """

    flops_per_token: int | None
    peak: Peak
    reason: str | None

    def mfu(self, tokens_per_second: float) -> float | None:
        """Between 0 and 1; None where it is not known."""
        if self.reason or self.flops_per_token is None or self.peak.flops is None:
            return None
        return self.flops_per_token * tokens_per_second / self.peak.flops

    def to_json(self) -> dict[str, Any]:
        """As a part of a record."""
        return {
            "flops_per_token": self.flops_per_token,
            "peak_flops": self.peak.flops,
            "peak_source": self.peak.source,
            "reason": self.reason,
        }


UNKNOWN = Utilization(None, Peak(), "not looked up")


def utilization(network: Any, attention_width: int, windows: Windows, length: int, peak: Peak) -> Utilization:
    """What is known of a model that is trained on sequences of this length."""
    if getattr(network.config.get_text_config(), "num_experts_per_tok", None):
        reason = (
            "a token meets some of the experts only, and which share of the weights they are is not known"
        )
        return Utilization(None, peak, reason)
    if getattr(network.config, "halt_max_steps", None):
        reason = "a token meets the same weights many times, at some of them without a backward pass"
        return Utilization(None, peak, reason)
    cost = training_flops(multiplied_weights(network), attention_width, windows, length)
    cost -= 2 * multiplied_weights(network, frozen=True)
    return Utilization(cost, peak, peak.reason)


def training_flops(weights: int, attention_width: int, windows: Windows, length: int) -> int:
    """FLOPs of a token, forward and backward.

    Args:
        weights: that a token is multiplied with.
        attention_width: H * D, of all heads of a layer.
        windows: of each layer; None for all tokens before.
        length: S, tokens in a sequence.
    """
    return 6 * weights + 12 * attention_width * sum(min(length, window or length) for window in windows)


def multiplied_weights(network: Any, frozen: bool = False) -> int:
    """Weights that a token is multiplied with, or the frozen ones of them: matrices that are not only looked up in."""
    output = network.get_output_embeddings()
    tables = {id(module.weight) for module in network.modules() if isinstance(module, nn.Embedding)}
    tables -= {id(output.weight)} if output is not None else set()
    matrices = (p for p in network.parameters() if p.ndim >= 2 and id(p) not in tables)
    return sum(p.numel() for p in matrices if not (frozen and p.requires_grad))


def peak(gpu: str | None, arithmetic: str) -> Peak:
    """The stated peak of a GPU.

    Args:
        gpu: the name that the driver gives it; None for a CPU.
        arithmetic: of its matrix products: bfloat16, float16, tf32 or float32.
    """
    if gpu is None:
        return Peak(reason="a CPU has no stated peak")
    for row in json.loads(PEAKS.read_text(encoding="utf-8"))["gpus"]:
        if re.fullmatch(row["name"], gpu):
            teraflops = row[arithmetic]
            if teraflops is None:
                return Peak(reason=f"no peak in {arithmetic} is stated for {gpu}")
            return Peak(teraflops * 1e12, row["source"])
    return Peak(reason=f"the peak of {gpu} is not known")
