"""The plan of a run: what its step needs as configured and with each change, what fits, and the longest context of each method."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from trainer import chunking
from trainer.attention.choice import Decision
from trainer.config import TrainConfig
from trainer.errors import UserError
from trainer.models import rope
from trainer.planning import changes
from trainer.planning.changes import CHANGES, METHODS, WAYS, with_keys
from trainer.planning.planned_device import lends_host_memory
from trainer.planning.step import StepMemory
from trainer.survival.memory_estimate import MemoryEstimate

SCHEMA_VERSION = 1
SHORTEST, LONGEST = 256, 1 << 18  # tokens
ROUNDS = 6  # of the search for the longest context


@dataclass(frozen=True)
class Setting:
    """A configuration, and what its step needs.

    Attributes:
        changes: names of the changes to the configuration that was asked for.
        options: of `aios train`, for these changes.
    """

    changes: tuple[str, ...]
    options: tuple[str, ...]
    config: TrainConfig
    memory: MemoryEstimate

    def fits(self, size: int) -> bool:
        return self.memory.total <= size


@dataclass(frozen=True)
class LongestContext:
    """The longest sequence of a method, one at a time with gradient checkpointing, computed in one of `changes.WAYS`.

    Attributes:
        tokens: 0 if none fits; None if it cannot be estimated.
        limited_by: the memory of the device, the positions of the model, or nothing up to 262,144 tokens.
    """

    tokens: int | None
    limited_by: str
    memory: MemoryEstimate | None


@dataclass(frozen=True)
class Plan:
    """What a run needs, and what a device has.

    Attributes:
        settings: as configured, then with one more change each, in the order of their harm.
        longest: by method: full, lora, qlora, each also with another way to compute it: full_chunks and so on.
        shared: whether the driver uses memory of the host instead of failing.
        attention: the backend that would run on this machine; None for another device.
    """

    model: dict[str, Any]
    device: str
    size: int
    settings: tuple[Setting, ...]
    longest: dict[str, LongestContext]
    shared: bool = False
    attention: Decision | None = None

    @property
    def recommended(self) -> Setting | None:
        """The first setting that fits; None if none does."""
        return next((setting for setting in self.settings if setting.fits(self.size)), None)

    def to_json(self) -> dict[str, Any]:
        recommended = self.recommended
        return {
            "schema_version": SCHEMA_VERSION,
            "model": self.model,
            "attention": self.attention and {**self.attention.to_json(), "label": self.attention.label},
            "device": {"name": self.device, "bytes": self.size, "lends_host_memory": self.shared},
            "settings": [
                {
                    "changes": setting.changes,
                    "options": setting.options,
                    "memory": _memory(setting.memory),
                    "fits": setting.fits(self.size),
                }
                for setting in self.settings
            ],
            "recommended": self.settings.index(recommended) if recommended else None,
            "longest_context": {
                method: {
                    "tokens": found.tokens,
                    "limited_by": found.limited_by,
                    "memory": found.memory and _memory(found.memory),
                }
                for method, found in self.longest.items()
            },
        }


def _memory(estimate: MemoryEstimate) -> dict[str, Any]:
    values = asdict(estimate)
    return {"optimizer": values.pop("state"), **values, "total": estimate.total}


def make_plan(
    config: TrainConfig,
    step: StepMemory,
    model: dict[str, Any],
    device: str,
    size: int,
    attention: Decision | None = None,
) -> Plan:
    """Estimate all settings.

    Args:
        model: what to say about the model.
        device: the device's name.
        size: bytes that a step may use on it.
    """
    settings = tuple(_settings(config, step))
    longest = {
        f"{method}{way}": longest_context(with_keys(with_keys(config, keys), how), step, size)
        for method, keys in METHODS.items()
        if config.model.name or method == "full"
        for way, how in WAYS[step.device.type].items()
    }
    shared = lends_host_memory(step.device)
    found = {name: each for name, each in longest.items() if each}
    return Plan(model, device, size, settings, found, shared, attention)


def _settings(config: TrainConfig, step: StepMemory) -> Iterator[Setting]:
    names: tuple[str, ...] = ()
    changed = config
    memory = step(config)
    yield Setting((), (), config, memory)
    for change in CHANGES:
        after = change.apply(changed)
        if after is changed or change.device not in (None, step.device.type) or not _possible(after, step):
            continue
        found = step(after)
        if found.activations is None and memory.activations is not None:
            continue  # the model cannot be computed in this way
        if found.total > memory.total:
            continue  # as smaller chunks may, when the carry is larger than what they save
        names, changed, memory = (*names, change.name), after, found
        yield Setting(names, tuple(changes.options(config, changed)), changed, memory)


def _possible(config: TrainConfig, step: StepMemory) -> bool:
    """Whether the positions of the model allow chunks, if the configuration has them."""
    try:
        chunking.check_positions(config, step.model_config)
    except UserError:
        return False
    return True


def longest_context(config: TrainConfig, step: StepMemory, size: int) -> LongestContext | None:
    """The longest sequence whose step fits into `size` bytes, as a multiple of 256 tokens; None if none can be computed so.

    Memory grows with the length almost linearly, so the search follows the line through the last two lengths.
    """
    alone = with_keys(config, {"training": {"batch_size": 1, "amp": True}})
    positions = rope.max_length(step.model_config)
    limit = min(LONGEST, positions or LONGEST)
    training = alone.training
    if training.use_chunked_training and (
        training.preference
        or limit <= training.chunk_tokens
        or not _possible(with_keys(alone, {"data": {"max_length": limit}}), step)
    ):
        return None
    second = min(limit, SHORTEST * 16 if not training.use_chunked_training else 8 * training.chunk_tokens)
    estimates: dict[int, MemoryEstimate] = {}
    guess: int | None = min(SHORTEST, limit)
    while guess is not None and len(estimates) < ROUNDS:
        estimates[guess] = step(alone, guess)
        if estimates[guess].activations is None:
            return LongestContext(None, "unknown", None)
        guess = _next_length(estimates, size, limit, second)
    best = max((length for length, found in estimates.items() if found.total <= size), default=0)
    return LongestContext(
        best,
        "memory" if best < limit else "positions" if positions else "nothing",
        estimates.get(best),
    )


def _next_length(estimates: dict[int, MemoryEstimate], size: int, limit: int, second: int) -> int | None:
    """The length to try next; None if the longest that fits is known, or almost."""
    fitting = max((length for length, found in estimates.items() if found.total <= size), default=0)
    over = min((length for length, found in estimates.items() if found.total > size), default=limit + 1)
    if not fitting or fitting == limit or over - fitting <= SHORTEST:
        return None
    if len(estimates) == 1:
        return second
    (first, low), (second, high) = sorted(estimates.items())[-2:]
    if over <= limit:
        (first, low), (second, high) = (fitting, estimates[fitting]), (over, estimates[over])
    slope = max(1.0, (high.total - low.total) / (second - first))
    guess = int(first + (size - low.total) / slope)
    guess = limit if guess >= limit < over else guess // SHORTEST * SHORTEST
    if over <= limit:
        guess = min(guess, over - SHORTEST)
    return guess if guess > fitting else None
