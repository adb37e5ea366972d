"""AdamW and the schedule of its learning rate."""

from __future__ import annotations

import math

from torch import nn
from torch.optim import AdamW

from trainer.config import TrainingSection

FINAL_FRACTION = 0.1  # of the highest learning rate


def make_optimizer(model: nn.Module, training: TrainingSection) -> AdamW:
    """AdamW in its fused form; matrices decay, vectors (biases, norms) do not."""
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    groups = [
        {"params": [p for p in parameters if p.ndim >= 2], "weight_decay": training.weight_decay},
        {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0},
    ]
    return AdamW(groups, lr=training.learning_rate, betas=(0.9, 0.95), fused=True)


def learning_rate(step: int, training: TrainingSection) -> float:
    """The learning rate of a step, counted from 1: a linear rise, then a cosine down to FINAL_FRACTION."""
    if step <= training.warmup_steps:
        return training.learning_rate * step / training.warmup_steps
    progress = (step - training.warmup_steps) / max(1, training.steps - training.warmup_steps)
    cosine = (1 + math.cos(math.pi * progress)) / 2
    return training.learning_rate * (FINAL_FRACTION + (1 - FINAL_FRACTION) * cosine)
