"""The configuration of a training run."""

from trainer.config.preference_keys import WITH_REFERENCE, LossName
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
    "WITH_REFERENCE",
    "Backend",
    "DataSection",
    "LossName",
    "ModelSection",
    "OutputSection",
    "TrainConfig",
    "TrainingSection",
    "each_key",
    "load",
]
