"""The configuration of a training run."""

from trainer.config.reading import load
from trainer.config.sections import (
    Backend,
    DataSection,
    ModelSection,
    OutputSection,
    TrainConfig,
    TrainingSection,
    each_key,
)

__all__ = [
    "Backend",
    "DataSection",
    "ModelSection",
    "OutputSection",
    "TrainConfig",
    "TrainingSection",
    "each_key",
    "load",
]
