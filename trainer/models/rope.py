"""Rotary positions whose frequencies depend on the length of the text. A change makes cached keys out of date.

transformers implements two kinds: `longrope` (Phi-3) switches once, at the length that the model was first trained with;
`dynamic` changes with every token past that length.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch


def max_length(config: Any) -> int | None:
    """The largest number of tokens that the model has positions for; None if there is no limit."""
    text = config.get_text_config()
    positions = getattr(text, "max_position_embeddings", None)
    if not isinstance(positions, int) or positions < 1:  # XLNet says -1
        return None
    factors = [each.get("factor", 1.0) for each in _parameters(text) if _is_dynamic(each)]
    return int(positions * min(factors)) if factors else positions


def frequencies(config: Any, length: int) -> int:
    """A number that is the same for two lengths if the model uses the same frequencies for both."""
    text = config.get_text_config()
    for each in _parameters(text):
        if _is_dynamic(each) and length > text.max_position_embeddings:
            return length
        if each.get("rope_type") == "longrope" and length > _trained_length(text, each):
            return 1
    return 0


def restore(model: Any, text: list[int]) -> None:
    """Restore the frequencies of short texts after this long one: transformers keeps those of the longest until then."""
    for module in model.modules():
        if hasattr(module, "max_seq_len_cached"):  # transformers 5.4 does not update it
            module.max_seq_len_cached = max(module.max_seq_len_cached, len(text))
    model(input_ids=torch.tensor([text[:1]], device=model.device), use_cache=False)


def _is_dynamic(parameters: Mapping[str, Any]) -> bool:
    return "dynamic" in str(parameters.get("rope_type"))


def _trained_length(text: Any, parameters: Mapping[str, Any]) -> int:
    found = parameters.get("original_max_position_embeddings")
    return int(
        found or getattr(text, "original_max_position_embeddings", None) or text.max_position_embeddings
    )


def _parameters(text: Any) -> Iterator[Mapping[str, Any]]:
    """The parameters of the rotary positions: one for all layers, or one for each type of layer."""
    parameters = getattr(text, "rope_parameters", None) or {}
    if "rope_type" in parameters:
        yield parameters
    else:
        yield from (each for each in parameters.values() if isinstance(each, dict))
