"""Packed conversations in a training step, for `bench_training.py --chat`: ours and TRL's SFTTrainer, each packing by itself.

Conversations have 64 to 512 tokens, of which the first 40% are the prompt. Speed counts the tokens of conversations, not padding.
"""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from other_trainers import AfterStep, packed_sft_trainer

from trainer.data import Batch

SHORTEST, LONGEST, PROMPT = 64, 512, 0.4
PER_STEP = 9  # conversations that are more than enough for a step of four rows


@dataclass
class Steps:
    """What was measured of one program: of each step the seconds, the loss and the tokens."""

    seconds: list[float] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    tokens: list[int] = field(default_factory=list)

    @property
    def rates(self) -> list[float]:
        """Tokens per second of each step but the first, which warms up."""
        return [count / seconds for count, seconds in zip(self.tokens[1:], self.seconds[1:], strict=False)]


def conversations(vocabulary: int, steps: int) -> list[tuple[list[int], list[int]]]:
    """Return tokens and labels of random conversations, with the frequencies of words (Zipf's law)."""
    lengths = random.Random(1)
    frequency = 1 / np.arange(1, vocabulary + 1)
    words = np.random.default_rng(1)
    found = []
    for _ in range(steps * PER_STEP):
        tokens = words.choice(
            vocabulary, lengths.randint(SHORTEST, LONGEST), p=frequency / frequency.sum()
        ).tolist()
        prompt = int(PROMPT * len(tokens))
        found.append((tokens, [-100] * prompt + tokens[prompt:]))
    return found


def our_batches(
    talks: list[tuple[list[int], list[int]]], steps: int, size: int, length: int
) -> tuple[list[Batch], list[int]]:
    """Return the batches of our own rows of whole conversations, and the number of tokens of conversations in each."""
    from trainer.data.best_fit_packing import WholeRows
    from trainer.data.instructions import Tally
    from trainer.data.stream import make
    from trainer.data.tokens import Tokenized

    tally = Tally()
    tally.shapes["messages"] = len(talks)
    ends = np.cumsum([len(tokens) for tokens, _ in talks])
    starts = ends - [len(tokens) for tokens, _ in talks]
    prompts = starts + [labels.count(-100) for _, labels in talks]
    source = Tokenized(
        tokens=np.concatenate([tokens for tokens, _ in talks]).astype(np.uint16),
        ends=ends,
        byte_ends=ends,
        documents=np.arange(len(talks)),
        ignored=np.stack([starts, prompts], axis=1).reshape(-1),
        entropies=(0.0, 0.0),
        tally=tally,
    )
    stream = make(source, 0, int(ends[-1]), 1, length, 0, packing=True)
    rows = stream.rows
    assert isinstance(rows, WholeRows)
    order = np.random.default_rng(0).permutation(stream.blocks)
    parts = [order[first : first + size] for first in range(0, steps * size, size)]
    counts = [sum(pairs + 1 for row in part.tolist() for _, pairs in rows.segments(row)) for part in parts]
    return [stream.batch(part) for part in parts], counts


def side_by_side(
    vocabulary: int,
    rounds: int,
    size: int,
    length: int,
    model: Callable[[], Any],
    train: Callable[[Any, list[Batch]], Iterator[float]],
    settings: dict[str, Any],
) -> tuple[Steps, Steps]:
    """Return the steps of ours and of TRL, which take turns.

    Args:
        model: makes the model, always with the same weights.
        train: trains a model with our code on batches, and yields the loss of each step.
    """
    talks = conversations(vocabulary, rounds + 1)
    batches, counts = our_batches(talks, rounds + 1, size, length)
    steps, mine, theirs = train(model(), batches), Steps(tokens=counts), Steps()
    began = 0.0

    def after_step(loss: float) -> None:
        nonlocal began
        theirs.seconds.append(time.perf_counter() - began)
        theirs.losses.append(loss)
        began = time.perf_counter()
        mine.losses.append(next(steps))
        mine.seconds.append(time.perf_counter() - began)
        began = time.perf_counter()

    packed = packed_sft_trainer(model(), talks, (rounds + 1, size, length), settings, after_step)
    theirs.tokens = [sum(packed[first : first + size]) for first in range(0, (rounds + 1) * size, size)]
    return mine, theirs


def alone(
    program: str,
    vocabulary: int,
    size: int,
    length: int,
    model: Callable[[], Any],
    train: Callable[[Any, list[Batch]], Iterator[float]],
    settings: dict[str, Any],
) -> None:
    """Take three steps with one program."""
    talks = conversations(vocabulary, 3)
    if program == "ours":
        list(train(model(), our_batches(talks, 3, size, length)[0]))
    else:
        no_report: AfterStep = lambda loss: None  # noqa: E731
        packed_sft_trainer(model(), talks, (3, size, length), settings, no_report)


def ratio(mine: Steps, theirs: Steps) -> float:
    """Return the median over steps of how many times as many tokens per second ours takes."""
    return statistics.median(my / their for my, their in zip(mine.rates, theirs.rates, strict=True))
