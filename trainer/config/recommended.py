"""The usual windows and chunk sizes for a length and a memory, without a measurement, and the settings `auto`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from trainer.config.sections import TrainConfig

GIB = 2**30
TABLE_FOR = 24  # GiB that the chunk sizes below are meant for
SMALL = 12  # GiB up to which chunks help from 8,000 tokens on
SMALLEST_CHUNK = 128
# (tokens from which on, windows, chunk sizes)
TABLE = (
    (100_000, (256,), (256, 512)),
    (64_000, (256, 512), (512, 1024)),
    (32_000, (512, 1024), (2048,)),
    (16_000, (1024, 2048), (4096,)),
    (8_000, (2048, 4096), ()),
    (0, (), ()),
)


@dataclass(frozen=True)
class Recommended:
    """Usual settings.

    Attributes:
        context: tokens in a sequence from which on they are usual.
        windows, chunks: sizes, ascending; empty for none.
        optional: whether the chunks only help if memory is short.
        offload: whether carries belong into the host's memory.
    """

    context: int
    windows: tuple[int, ...]
    chunks: tuple[int, ...]
    optional: bool = False
    offload: bool = False

    def __str__(self) -> str:
        if not self.windows:
            return "no window, no chunks"
        window = f"a window of {_range(self.windows)}"
        if not self.chunks:
            return f"{window}, no chunks"
        short = " if memory is short" if self.optional else ""
        return f"{window}, chunks of {_range(self.chunks)}{short}{', --cpu-offload' * self.offload}"


def recommended(context: int, memory: float) -> Recommended:
    """The usual settings for sequences of `context` tokens on a device with `memory` GiB."""
    return next(row for row in rows(memory) if context >= row.context)


def rows(memory: float) -> Iterator[Recommended]:
    """The whole table for a device with `memory` GiB, the longest context first. Chunks shrink with the memory."""
    share = min(1.0, memory / TABLE_FOR)
    for context, windows, chunks in TABLE:
        if windows and not chunks and memory <= SMALL:
            yield Recommended(context, windows, (4096,), optional=True)
            continue
        scaled = {max(SMALLEST_CHUNK, 1 << (max(1, int(size * share)).bit_length() - 1)) for size in chunks}
        yield Recommended(context, windows, tuple(sorted(scaled)), offload=context == TABLE[0][0])


def resolve(config: TrainConfig, memory_bytes: int) -> tuple[TrainConfig, list[str]]:
    """The configuration with numbers instead of `auto`, and what to say about each.

    Args:
        memory_bytes: of the device in total, so that a run that is resumed gets the same numbers.
    """
    length = config.data.max_length
    usual, why = (
        recommended(length, memory_bytes / GIB),
        f"the usual choice for sequences of {length:,} tokens",
    )
    model, training, notes = config.model, config.training, []
    if model.window_size == "auto":
        window = usual.windows[-1] if usual.windows else None  # the widest changes the model least
        model = model.model_copy(update={"window_size": window})
        if window is None:
            notes.append(f"model.window_size = auto: the model's own windows, {why}")
        else:
            notes.append(
                f"model.window_size = auto: {window} tokens, {why}. The model then sees no further back in each layer: measure "
                "what your task loses by it"
            )
    if training.chunk_size == "auto":
        if usual.chunks and not training.preference:  # a preference loss needs whole answers
            size = min(usual.chunks[-1], length)
            keys = {"use_chunked_training": True, "chunk_size": size}
            notes.append(
                f"training.chunk_size = auto: chunks of {size} tokens, {why} and {memory_bytes / GIB:.0f} GiB"
            )
        else:
            keys = {"use_chunked_training": False, "chunk_size": length}
            reason = f"which training.loss = {training.loss} needs" if training.preference else why
            notes.append(f"training.chunk_size = auto: whole sequences, {reason}")
        training = training.model_copy(update=keys)
    return config.model_copy(update={"model": model, "training": training}) if notes else config, notes


def _range(sizes: tuple[int, ...]) -> str:
    return " to ".join(map(str, sizes))
