"""Choosing the next token from logits. The steps and their order are those of transformers' logits processors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

NEVER = float("-inf")


@dataclass(frozen=True)
class Sampling:
    """How the next token is chosen.

    Attributes:
        temperature: 0 takes the most likely token.
        top_k: sample from the k most likely tokens; 0 for all.
        seed: the same seed gives the same text.
        top_p: sample from the most likely tokens that together have this probability; 1 for all.
        min_p: sample from the tokens with at least this fraction of the largest probability; 0 for all.
        repetition_penalty: divides the logits of tokens that occur in the text before, and multiplies negative ones; 1 for
            none. Keskar et al. 2019, arXiv:1909.05858.
    """

    max_new_tokens: int = 200
    temperature: float = 0.8
    top_k: int = 0
    seed: int = 1234
    top_p: float = 1.0
    min_p: float = 0.0
    repetition_penalty: float = 1.0


def choose(logits: Tensor, sampling: Sampling, generator: torch.Generator, text: Sequence[int] = ()) -> int:
    """Sample a token id from the logits (V,).

    Args:
        text: the tokens before, for the repetition penalty.
    """
    logits = penalised(logits.float().cpu(), sampling, text)
    if sampling.temperature == 0:
        return int(logits.argmax())
    return int(torch.multinomial(restricted(logits, sampling).softmax(-1), 1, generator=generator))


def penalised(logits: Tensor, sampling: Sampling, text: Sequence[int]) -> Tensor:
    """The logits (V,), lower for the tokens of a text."""
    if sampling.repetition_penalty == 1:
        return logits
    seen = torch.tensor(sorted({token for token in text if token < len(logits)}), dtype=torch.long)
    before = logits[seen]
    scaled = torch.where(
        before < 0, before * sampling.repetition_penalty, before / sampling.repetition_penalty
    )
    return logits.index_copy(0, seen, scaled)


def restricted(logits: Tensor, sampling: Sampling) -> Tensor:
    """The logits (V,) divided by the temperature, minus infinity for tokens that are not to be chosen."""
    logits = logits / sampling.temperature
    if 0 < sampling.top_k < len(logits):
        logits = logits.masked_fill(logits < logits.topk(sampling.top_k).values[-1], NEVER)
    if sampling.top_p < 1:
        ascending, order = logits.sort()
        unlikely = ascending.softmax(-1).cumsum(-1) <= 1 - sampling.top_p
        unlikely[-1] = False
        logits = logits.index_fill(0, order[unlikely], NEVER)
    if sampling.min_p > 0:
        probabilities = logits.softmax(-1)
        logits = logits.masked_fill(probabilities < sampling.min_p * probabilities.max(), NEVER)
    return logits
