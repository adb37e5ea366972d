"""Ways to need less memory, the most harmless first: those that change nothing, that cost time, that change what is trained.

Each is a set of keys of the configuration, so that it is also a set of options of `aios train`. None is a window: it changes
what the model sees.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from trainer.config import TrainConfig

Harm = Literal["none", "time", "precision", "method"]
KEY_OPTIONS = {True: "--{}", False: "--no-{}"}
SMALL_CHUNK = 512  # tokens; smaller ones save little, and take long
Keys = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Change:
    """A way to need less memory.

    Attributes:
        name: in one or two words.
        harm: what it costs: nothing, time, precision of what is stored, or another method of training.
        keys: the section and the values to set for a configuration; empty if it already has them.
        device: the type of device that it has an effect on; None for all.
    """

    name: str
    harm: Harm
    keys: Callable[[TrainConfig], Keys]
    device: str | None = None

    def apply(self, config: TrainConfig) -> TrainConfig:
        """The configuration with this change; the same object if it changes nothing."""
        return with_keys(config, self.keys(config))


def with_keys(config: TrainConfig, keys: Keys) -> TrainConfig:
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


def _with(keys: Keys, **training: Any) -> Keys:
    return {**keys, "training": {**keys["training"], **training}}


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


def _chunks(config: TrainConfig) -> Keys:
    """Chunks of the configured size, if sequences are longer."""
    training = config.training
    short = config.data.max_length <= training.chunk_tokens
    if training.use_chunked_training or training.preference or short:  # preference losses need whole answers
        return {}
    return {"training": {"use_chunked_training": True, "chunk_gradients": "exact"}}


def _small_chunks(config: TrainConfig) -> Keys:
    training = config.training
    size = training.chunk_tokens if training.use_chunked_training else config.data.max_length
    if training.preference or size < 2 * SMALL_CHUNK:
        return {}
    gradients = training.chunk_gradients if training.use_chunked_training else "exact"
    keys = {"use_chunked_training": True, "chunk_gradients": gradients, "chunk_size": SMALL_CHUNK}
    return {"training": keys}


def _fewer_carries(config: TrainConfig) -> Keys:
    exact = config.training.use_chunked_training and config.training.chunk_gradients == "exact"
    return {"training": {"recompute_carries": True}} if exact else {}


def _offload(config: TrainConfig) -> Keys:
    chunked = {"cpu_offload": True} if config.training.use_chunked_training else {}
    return {"training": {"offload_activations": True, **chunked}}


def _single_sequences(config: TrainConfig) -> Keys:
    training = config.training
    sequences = training.batch_size * training.gradient_accumulation_steps
    return {"training": {"batch_size": 1, "gradient_accumulation_steps": sequences}}


def _adapter(config: TrainConfig) -> Keys:
    return {"model": {"use_peft": True}} if config.model.name else {}


def _four_bits(config: TrainConfig) -> Keys:
    if not config.model.name:
        return {}
    return {"model": {"use_peft": True, "load_in_4bit": True, "load_in_8bit": False}}


def _small_state(config: TrainConfig) -> Keys:
    return {"training": {"optimizer": "adamw_8bit"}} if config.training.optimizer == "adamw" else {}


# Each is applied to the result of those before it.
CHANGES = (
    Change("exact chunks", "time", _chunks),
    Change("gradient checkpointing", "time", lambda config: {"model": {"gradient_checkpointing": True}}),
    Change("one sequence at a time", "time", _single_sequences),
    Change("fewer stored carries", "time", _fewer_carries, "cpu"),
    Change("offload to host memory", "time", _offload, "cuda"),
    Change("smaller chunks", "time", _small_chunks),
    Change("16-bit computation", "precision", lambda config: {"training": {"amp": True}}),
    Change("8-bit optimizer state", "precision", _small_state),
    Change("LoRA", "method", _adapter),
    Change("QLoRA", "method", _four_bits),
)
METHODS: dict[str, Keys] = {
    "full": {"model": {"use_peft": False, "load_in_4bit": False, "load_in_8bit": False}},
    "lora": {"model": {"use_peft": True, "load_in_4bit": False, "load_in_8bit": False}},
    "qlora": {"model": {"use_peft": True, "load_in_4bit": True, "load_in_8bit": False}},
}
# How a sequence is computed when the longest is looked for, by type of device. The name ends that of the method
CHUNKS, OFFLOAD = "_chunks", "_offload"
_WHOLE: Keys = {
    "model": {"gradient_checkpointing": True},
    "training": {"use_chunked_training": False, "offload_activations": False},
}
_IN_CHUNKS: Keys = {
    "model": {"gradient_checkpointing": True},
    "training": {"use_chunked_training": True, "chunk_gradients": "exact"},
}
WAYS: dict[str, dict[str, Keys]] = {
    "cpu": {"": _WHOLE, CHUNKS: _with(_IN_CHUNKS, recompute_carries=True)},
    "cuda": {
        "": _WHOLE,
        OFFLOAD: _with(_WHOLE, offload_activations=True),
        CHUNKS: _with(_IN_CHUNKS, offload_activations=True, cpu_offload=True),
    },
}
