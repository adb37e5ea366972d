"""The settings that are compared. All keep the number of samples in a step, so they train the same."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from trainer.config import TrainConfig

CHUNK_SIZES = (512, 1024, 2048, 4096)
LONG = 2048  # tokens in a sequence from which on chunks are tried


@dataclass(frozen=True)
class Candidate:
    """Settings of a run.

    Attributes:
        batch_size: sequences in a forward pass.
        accumulation: forward passes in a step.
        chunk_size: tokens in a chunk of a sequence; None for whole sequences.
        window_size: None for that of the configuration.
        backend: of attention.
    """

    batch_size: int
    accumulation: int
    chunk_size: int | None
    window_size: int | None
    backend: str
    gradient_checkpointing: bool
    chunk_gradients: str = "exact"

    def overrides(self) -> dict[str, Any]:
        """The keys of the configuration that it sets."""
        keys: dict[str, Any] = {
            "batch_size": self.batch_size,
            "gradient_accumulation_steps": self.accumulation,
            "attention_backend": self.backend,
            "gradient_checkpointing": self.gradient_checkpointing,
        }
        if self.window_size is not None:
            keys["window_size"] = self.window_size
        keys["use_chunked_training"] = self.chunk_size is not None
        if self.chunk_size is not None:
            keys |= {"chunk_size": self.chunk_size, "chunk_gradients": self.chunk_gradients}
        return keys

    def __str__(self) -> str:
        parts = [f"batch {self.batch_size}"]
        if self.chunk_size:
            parts.append(f"chunks of {self.chunk_size}")
        if self.window_size is not None:
            parts.append(f"window {self.window_size or 'none'}")
        if self.backend != "auto":
            parts.append(self.backend)
        return ", ".join([*parts, *(["checkpointing"] if self.gradient_checkpointing else [])])

    def needs_more_memory_than(self, other: Candidate) -> bool:
        """Whether it is the other one with more sequences at a time, or without something that saves memory."""
        if (self.window_size, self.backend) != (other.window_size, other.backend):
            return False
        chunk, others = self.chunk_size or 1 << 62, other.chunk_size or 1 << 62
        return (
            self != other
            and self.batch_size >= other.batch_size
            and chunk >= others
            and self.gradient_checkpointing <= other.gradient_checkpointing
        )


@dataclass(frozen=True)
class Choices:
    """The values to combine; empty for those of the configuration, or with `search` for the usual ones."""

    batch_sizes: Sequence[int] = ()
    chunk_sizes: Sequence[int] = ()
    windows: Sequence[int] = ()
    backends: Sequence[str] = ()


def candidates(config: TrainConfig, choices: Choices, search: bool) -> list[Candidate]:
    """All combinations, those first that are expected to be the fastest: large batches, nothing recomputed."""
    training, length = config.training, config.data.max_length
    samples = training.batch_size * training.gradient_accumulation_steps
    sizes = choices.batch_sizes or (_divisors(samples) if search else [training.batch_size])
    usual = [size for size in CHUNK_SIZES if size < length] if search and length > LONG else []
    own = training.chunk_tokens if training.use_chunked_training else None
    chunk_sizes: list[int | None] = [*choices.chunk_sizes] or ([None, *usual] if search else [own])
    checkpointing = [False, True] if search else [config.model.gradient_checkpointing]
    gradients = training.chunk_gradients if training.use_chunked_training else "exact"  # which change nothing
    found = [
        Candidate(size, samples // size, chunk, window, backend, checkpoint, gradients)
        for checkpoint in checkpointing
        for chunk in sorted(chunk_sizes, key=lambda size: -(size or 1 << 62))
        for window in (*choices.windows,) or (None,)
        for backend in (choices.backends or [config.requested_backend])
        for size in sorted(sizes, reverse=True)
        if samples % size == 0
    ]
    return [*dict.fromkeys(found)]


def left_out(config: TrainConfig, choices: Choices) -> Iterator[str]:
    """The batch sizes that would change the number of samples in a step."""
    samples = config.training.batch_size * config.training.gradient_accumulation_steps
    for size in choices.batch_sizes:
        if samples % size:
            yield f"batch {size}: a step of {samples} samples cannot be split into batches of {size}"


def _divisors(samples: int) -> list[int]:
    """Powers of two that divide the samples of a step, and the samples themselves."""
    powers = [2**power for power in range(samples.bit_length()) if samples % 2**power == 0]
    return sorted({*powers, samples})
