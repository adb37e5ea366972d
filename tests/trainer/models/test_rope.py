"""Rotary positions that change with the length of a text: sampling with the cache equals sampling without it."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers import AutoConfig

from tests.trainer.small_models import SPECIAL, model
from trainer.errors import UserError
from trainer.models import rope
from trainer.models.generation import generate
from trainer.models.model import check_length
from trainer.models.sampling import Sampling

LONG = {
    "rope_type": "longrope",
    "rope_theta": 1e4,
    "short_factor": [1.0] * 4,
    "long_factor": [4.0] * 4,
    "original_max_position_embeddings": 16,
    "factor": 4.0,
}
DYNAMIC = {"rope_type": "dynamic", "rope_theta": 1e4, "factor": 4.0}
KINDS: dict[str, dict[str, Any]] = {
    "longrope": {"max_position_embeddings": 64, "rope_parameters": LONG},
    "dynamic": {"max_position_embeddings": 16, "rope_parameters": DYNAMIC},
    "default": {},
}


def network(kind: str) -> Any:
    built = model("llama", **KINDS[kind]).eval()
    for parameter in built.parameters():
        parameter.data *= 4 if parameter.ndim > 1 else 1
    return built


def without_cache(built: Any, prompt: list[int], count: int) -> list[int]:
    tokens = [*prompt]
    with torch.no_grad():
        for _ in range(count):
            logits = built(input_ids=torch.tensor([tokens]), use_cache=False).logits
            tokens.append(int(logits[0, -1, :258].argmax()))
    return tokens[len(prompt) :]


@pytest.mark.parametrize("prefill", [3, 512])
@pytest.mark.parametrize("prompt", [10, 30])
@pytest.mark.parametrize("kind", KINDS)
def test_sampling_past_a_change_of_frequencies_equals_sampling_without_a_cache(
    kind: str, prompt: int, prefill: int
) -> None:
    """Texts of Phi-3 became garbled past 4,096 tokens: huggingface/transformers#33129, vllm-project/vllm#27414."""
    tokens = [7 * n % 250 for n in range(prompt)]
    found = generate(network(kind), tokens, Sampling(24, temperature=0), -1, 258, prefill)
    assert [*found] == without_cache(network(kind), tokens, 24)


def test_a_change_of_frequencies_changes_the_text() -> None:
    """With constant frequencies the same weights generate another text, so the test above can fail."""
    tokens = [7 * n % 250 for n in range(10)]
    texts = [without_cache(network(kind), tokens, 24) for kind in KINDS]
    assert texts[0] != texts[2] != texts[1]


def test_frequencies_change_once_or_with_every_token() -> None:
    lengths = (1, 16, 17, 40)
    configs = {kind: AutoConfig.for_model("llama", **SPECIAL, **changes) for kind, changes in KINDS.items()}
    found = {
        kind: [rope.frequencies(config, length) for length in lengths] for kind, config in configs.items()
    }
    assert found == {"longrope": [0, 0, 1, 1], "dynamic": [0, 0, 17, 40], "default": [0, 0, 0, 0]}


def test_each_type_of_layer_may_have_its_own_positions() -> None:
    parameters = {"sliding_attention": {"rope_type": "default", "rope_theta": 1e4}, "full_attention": LONG}
    config = AutoConfig.for_model("gemma3_text", max_position_embeddings=64, rope_parameters=parameters)
    assert [rope.frequencies(config, length) for length in (16, 17)] == [0, 1]


def test_dynamic_positions_extend_the_length_of_a_model() -> None:
    config = AutoConfig.for_model("llama", **KINDS["dynamic"])
    check_length(config, 64)
    with pytest.raises(UserError, match="the model has 64 positions"):
        check_length(config, 65)


@pytest.mark.parametrize("kind", KINDS)
def test_a_long_sample_does_not_change_the_training_after_it(kind: str) -> None:
    """transformers keeps the frequencies of the longest text until one comes that is shorter than the trained length."""
    built, tokens = network(kind), torch.arange(16)[None]
    with torch.no_grad():
        before = built(input_ids=tokens, use_cache=False).logits
        assert len([*generate(built, [1, 2, 3], Sampling(30, temperature=0), -1, 258)]) == 30
        assert torch.equal(built(input_ids=tokens, use_cache=False).logits, before)
