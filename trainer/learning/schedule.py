"""Learning rate schedules: a pure function of the step and the configuration."""

from __future__ import annotations

import math

from trainer.config import TrainingSection


def learning_rate(step: int, training: TrainingSection) -> float:
    """Return the learning rate of a step, counted from 1. After the last step it stays constant.

    It rises linearly to its peak during warm-up, then decays by the schedule to `final_lr_fraction` of the peak at the last
    step.
    """
    step = min(step, training.steps)
    if step <= training.warmup_steps:
        return training.learning_rate * step / training.warmup_steps
    factor = _decay(step - training.warmup_steps, training.steps - training.warmup_steps, training)
    final = training.final_lr_fraction
    return training.learning_rate * (final + (1 - final) * factor)


def _decay(step: int, steps: int, training: TrainingSection) -> float:
    """The schedule's factor, from 1 down to 0, at one of the `steps` after warm-up."""
    if training.schedule == "cosine":
        return (1 + math.cos(math.pi * step / steps)) / 2
    if training.schedule == "linear":
        return 1 - step / steps
    if training.schedule == "wsd":
        # Warm-up, stable, decay. The 1-sqrt shape is the best of those in Hägele et al. 2024, arXiv:2405.18392.
        decay = max(1, round(steps * training.decay_fraction))
        return 1 - math.sqrt(max(0, step - (steps - decay)) / decay)
    return 1.0
