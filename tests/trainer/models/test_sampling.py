"""The steps of sampling keep the same tokens, with the same probabilities, as transformers' logits processors."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers import (
    LogitsProcessorList,
    MinPLogitsWarper,
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from trainer.models.sampling import Sampling, choose, penalised, restricted

TEXT = [3, 3, 17, 41, 250]
SETTINGS: list[dict[str, Any]] = [
    {},
    {"temperature": 0.7},
    {"top_p": 0.9},
    {"top_p": 0.05},
    {"top_p": 0.0},
    {"min_p": 0.1},
    {"min_p": 1.0},
    {"repetition_penalty": 1.3},
    {"repetition_penalty": 0.8},
    {"temperature": 1.5, "top_k": 40, "top_p": 0.8, "min_p": 0.02, "repetition_penalty": 1.1},
]


def processors(temperature: float = 1.0, **settings: Any) -> Any:
    kinds = {
        "repetition_penalty": RepetitionPenaltyLogitsProcessor,
        "top_k": TopKLogitsWarper,
        "top_p": TopPLogitsWarper,
        "min_p": MinPLogitsWarper,
    }
    penalty = [kinds[name](value) for name, value in settings.items() if name == "repetition_penalty"]
    others = [kinds[name](value) for name, value in settings.items() if name != "repetition_penalty"]
    return LogitsProcessorList([*penalty, TemperatureLogitsWarper(temperature), *others])


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
@pytest.mark.parametrize("spread", [0.5, 4.0])
def test_the_distribution_is_that_of_transformers(settings: dict[str, Any], spread: float) -> None:
    logits = torch.randn(8, 300, generator=torch.Generator().manual_seed(0)) * spread
    expected = processors(**settings)(torch.tensor([TEXT] * 8), logits)
    sampling = Sampling(**{"temperature": 1.0, **settings})
    found = torch.stack([restricted(penalised(row, sampling, TEXT), sampling) for row in logits])
    assert torch.equal(found.isinf(), expected.isinf())
    assert torch.allclose(found.softmax(-1), expected.softmax(-1), atol=1e-7)


def test_the_penalty_also_applies_without_a_temperature() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.tensor([1.0, 2.0, 1.9, -1.0])
    greedy = Sampling(temperature=0, repetition_penalty=1.2)
    assert choose(logits, Sampling(temperature=0), generator, [1]) == 1
    assert choose(logits, greedy, generator, [1]) == 2
    assert choose(logits, greedy, generator, [1, 2, 9]) == 1, "ids beyond the vocabulary are ignored"
