"""The size of a run: what it reads, how often, and what it trains."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from trainer.config import TrainConfig
from trainer.data import Dataset

MANY_PASSES = 5  # more than this over the same text mostly memorizes it
UNITS = ((10**9, "B"), (10**6, "M"), (10**3, "K"))


@dataclass(frozen=True, kw_only=True)
class RunSize:
    """What a run reads and trains.

    Attributes:
        documents: in the data set, with those held out.
        sequences: of `length` tokens, in the training part.
        tokens_per_step: of all processes together.
        steps: in total; None for a run without an end.
        one_pass: the run ends after one pass over the text.
        pairs: whether a sequence is a pair of answers, which has twice the tokens.
    """

    documents: int
    text_bytes: int
    tokens: int
    held_out_tokens: int
    sequences: int
    length: int
    tokens_per_step: int
    steps: int | None
    one_pass: bool
    pairs: bool = False
    parameters: int
    trainable: int

    @property
    def sequences_per_step(self) -> int:
        return self.tokens_per_step // self.length

    @property
    def passes(self) -> float | None:
        """How often the run reads the text; None without an end."""
        if self.steps is None:
            return None
        passes = self.steps * self.sequences_per_step / self.sequences
        return min(passes, 1.0) if self.one_pass else passes

    def lines(self) -> Iterator[str]:
        """The lines to show before the first step."""
        held_out = f", {self.held_out_tokens:,} tokens held out" if self.held_out_tokens else ""
        if self.pairs:
            yield from self._lines_of_pairs(held_out)
            return
        yield (
            f"INFO: data: {counted(self.documents, 'document')}, {size(self.text_bytes)} of text, {self.tokens:,} tokens in "
            f"{counted(self.sequences, 'sequence')} of {self.length:,}{held_out}"
        )
        each = f"{self.tokens_per_step:,} tokens ({counted(self.sequences_per_step, 'sequence')})"
        if self.passes is None or self.steps is None:
            yield f"INFO: run: steps of {each} until it is stopped"
        else:
            total = self.steps * self.tokens_per_step
            yield (
                f"INFO: run: {counted(self.steps, 'step')} of {each}, {_short(total)} tokens in all: {self.passes:.2g} "
                f"{'pass' if self.passes == 1 else 'passes'} over the text"
            )
        yield self._trained()

    def _lines_of_pairs(self, held_out: str) -> Iterator[str]:
        yield (
            f"INFO: data: {counted(self.documents // 2, 'pair')} of answers, {self.tokens:,} tokens in "
            f"{counted(self.sequences, 'pair')} of sequences of at most {self.length:,}{held_out}"
        )
        each = counted(self.sequences_per_step, "pair")
        if self.passes is None or self.steps is None:
            yield f"INFO: run: steps of {each} until it is stopped"
        else:
            number = f"{self.passes:.2g} {'pass' if self.passes == 1 else 'passes'}"
            yield f"INFO: run: {counted(self.steps, 'step')} of {each}: {number} over the pairs"
        yield self._trained()

    def _trained(self) -> str:
        if self.trainable == self.parameters:
            return f"INFO: model: {_short(self.parameters)} parameters, all trained"
        share = self.trainable / self.parameters
        return f"INFO: model: {_short(self.trainable)} of {_short(self.parameters)} parameters trained ({share:.1%})"

    def warning(self) -> str | None:
        """Say that the run reads the text too often, and which number of steps does not."""
        if self.passes is None or self.passes <= MANY_PASSES:
            return None
        steps = max(1, MANY_PASSES * self.sequences // max(1, self.sequences_per_step))
        return (
            f"the run reads its text {self.passes:,.0f} times. After about {MANY_PASSES} passes a model mostly memorizes it: "
            f"use more text, or at most --steps {steps}. The held-out loss shows when it stops improving."
        )


def run_size(config: TrainConfig, dataset: Dataset, network: Any, processes: int) -> RunSize:
    """The size of a run. `network`: its model, ready to be trained."""
    training, stream = config.training, dataset.training
    parameters = [*network.parameters()]
    sequences = training.batch_size * training.gradient_accumulation_steps * processes
    return RunSize(
        documents=int(stream.source.documents[-1]) + 1,
        text_bytes=stream.text_bytes,
        tokens=len(stream.tokens),
        held_out_tokens=len(dataset.held_out.tokens) if dataset.held_out else 0,
        sequences=stream.blocks,
        length=config.data.max_length,
        tokens_per_step=sequences * config.data.max_length,
        steps=None if config.data.iterate else training.steps,
        one_pass=config.data.stop_after_epoch,
        pairs=stream.pairs is not None,
        parameters=sum(parameter.numel() for parameter in parameters),
        trainable=sum(parameter.numel() for parameter in parameters if parameter.requires_grad),
    )


def counted(count: int, noun: str) -> str:
    """1 document, 2,000 documents."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def size(count: int) -> str:
    """685 KB for 685,000 bytes."""
    unit, name = next(
        ((unit, name) for unit, name in ((10**9, "GB"), (10**6, "MB"), (10**3, "KB")) if count >= unit),
        (1, "bytes"),
    )
    return f"{count / unit:.3g} {name}"


def _short(count: int) -> str:
    """124M for 124,439,808."""
    unit, name = next(((unit, name) for unit, name in UNITS if count >= unit), (1, ""))
    return f"{count / unit:.3g}{name}"
