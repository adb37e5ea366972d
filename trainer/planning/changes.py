"""Ways to need less memory, the most harmless first: those that change nothing, that cost time, that change what is trained.

Each is a set of keys of the configuration, so that it is also a set of options of `aios train`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from trainer.config import TrainConfig

Harm = Literal["none", "time", "precision", "method"]
KEY_OPTIONS = {True: "--{}", False: "--no-{}"}


@dataclass(frozen=True)
class Change:
    """A way to need less memory.

    Attributes:
        name: in one or two words.
        harm: what it costs: nothing, time, precision of what is stored, or another method of training.
        keys: the section and the values to set for a configuration; empty if it already has them.
    """

    name: str
    harm: Harm
    keys: Callable[[TrainConfig], Mapping[str, Mapping[str, Any]]]

    def apply(self, config: TrainConfig) -> TrainConfig:
        """The configuration with this change; the same object if it changes nothing."""
        return with_keys(config, self.keys(config))


def with_keys(config: TrainConfig, keys: Mapping[str, Mapping[str, Any]]) -> TrainConfig:
    """A configuration with other values of some keys; the same object if none differs."""
    changed = {
        section: {
            key: value for key, value in values.items() if getattr(getattr(config, section), key) != value
        }
        for section, values in keys.items()
    }
    updates = {
        section: getattr(config, section).model_copy(update=values)
        for section, values in changed.items()
        if values
    }
    return config.model_copy(update=updates) if updates else config


def options(before: TrainConfig, after: TrainConfig) -> list[str]:
    """The options of `aios train` that turn one configuration into another."""
    found = []
    for section in ("model", "data", "training"):
        old, new = getattr(before, section), getattr(after, section)
        for key in type(new).model_fields:
            value = getattr(new, key)
            if value != getattr(old, key):
                name = key.replace("_", "-")
                flag = KEY_OPTIONS[value].format(name) if isinstance(value, bool) else f"--{name} {value}"
                found.append(flag)
    return found


def _single_sequences(config: TrainConfig) -> Mapping[str, Mapping[str, Any]]:
    training = config.training
    sequences = training.batch_size * training.gradient_accumulation_steps
    return {"training": {"batch_size": 1, "gradient_accumulation_steps": sequences}}


def _adapter(config: TrainConfig) -> Mapping[str, Mapping[str, Any]]:
    return {"model": {"use_peft": True}} if config.model.name else {}


def _four_bits(config: TrainConfig) -> Mapping[str, Mapping[str, Any]]:
    if not config.model.name:
        return {}
    return {"model": {"use_peft": True, "load_in_4bit": True, "load_in_8bit": False}}


def _small_state(config: TrainConfig) -> Mapping[str, Mapping[str, Any]]:
    return {"training": {"optimizer": "adamw_8bit"}} if config.training.optimizer == "adamw" else {}


# Each is applied to the result of those before it.
CHANGES = (
    Change("gradient checkpointing", "time", lambda config: {"model": {"gradient_checkpointing": True}}),
    Change("one sequence at a time", "time", _single_sequences),
    Change("16-bit computation", "precision", lambda config: {"training": {"amp": True}}),
    Change("8-bit optimizer state", "precision", _small_state),
    Change("LoRA", "method", _adapter),
    Change("QLoRA", "method", _four_bits),
)
METHODS: dict[str, Mapping[str, Mapping[str, Any]]] = {
    "full": {"model": {"use_peft": False, "load_in_4bit": False, "load_in_8bit": False}},
    "lora": {"model": {"use_peft": True, "load_in_4bit": False, "load_in_8bit": False}},
    "qlora": {"model": {"use_peft": True, "load_in_4bit": True, "load_in_8bit": False}},
}
