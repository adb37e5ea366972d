"""The learning rate of each step: a pure function of the step and the configuration."""

from __future__ import annotations

import math

from trainer.config import TrainingSection


def learning_rate(step: int, training: TrainingSection) -> float:
    """The learning rate of a step, counted from 1; after the last one it stays.

    A linear rise over the warm-up to the highest rate, then the schedule's way down to a fraction of it, which the last
    step has.
    """
    step = min(step, training.steps)
    if step <= training.warmup_steps:
        return training.learning_rate * step / training.warmup_steps
    left = _left(step - training.warmup_steps, training.steps - training.warmup_steps, training)
    final = training.final_lr_fraction
    return training.learning_rate * (final + (1 - final) * left)


def _left(step: int, steps: int, training: TrainingSection) -> float:
    """What is left of the way down, from 1 to 0, at a step of those after the warm-up."""
    if training.schedule == "cosine":
        return (1 + math.cos(math.pi * step / steps)) / 2
    if training.schedule == "linear":
        return 1 - step / steps
    if training.schedule == "wsd":
        # Warm-up, stable, decay. By the square root: the best of the shapes in Hägele et al. 2024, arXiv:2405.18392.
        decay = max(1, round(steps * training.decay_fraction))
        return 1 - math.sqrt(max(0, step - (steps - decay)) / decay)
    return 1.0
