"""Sample tokens from a model, with a key-value cache that is no larger than the model's windows."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from trainer.attention.kv_cache import make_cache

PREFILL = 512  # tokens of a prompt in one forward pass


@dataclass(frozen=True)
class Sampling:
    """How the next token is chosen.

    Attributes:
        temperature: 0 takes the most likely token.
        top_k: sample from the k most likely tokens; 0 for all.
        seed: the same seed gives the same text.
    """

    max_new_tokens: int = 200
    temperature: float = 0.8
    top_k: int = 0
    seed: int = 1234


@torch.inference_mode()
def generate(
    model: Any, prompt: list[int], sampling: Sampling, end_id: int, vocab_size: int, prefill: int = PREFILL
) -> Iterator[int]:
    """Yield new tokens up to the end-of-text token, which is not included.

    When a model with a fixed number of positions runs out of them, the last half of the text becomes its prompt.

    Args:
        model: a causal language model of transformers.
        prompt: token ids; an empty prompt becomes the end-of-text token.
        vocab_size: of the tokenizer. A model may have more ids; they are never chosen.
        prefill: tokens of the prompt in one forward pass; affects only memory.
    """
    generator = torch.Generator().manual_seed(sampling.seed)
    positions = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    tokens = [*prompt] or [end_id]
    new, cache, cache_name = tokens, make_cache(model.config), _cache_name(model)
    for _ in range(sampling.max_new_tokens):
        if positions and cache.get_seq_length() + len(new) > positions:
            new, cache = tokens[-(positions // 2 or 1) :], make_cache(model.config)
        for first in range(0, len(new), prefill):
            part = torch.tensor([new[first : first + prefill]], device=model.device)
            logits = model(input_ids=part, use_cache=True, **{cache_name: cache}).logits
        token = choose(logits[0, -1, :vocab_size], sampling, generator)
        if token == end_id:
            return
        yield token
        new = [token]
        tokens.append(token)


def _cache_name(model: Any) -> str:
    """The name of the argument for the cache: `cache` in transformers 5.24 and later."""
    return "cache" if "cache" in inspect.signature(model.forward).parameters else "past_key_values"


def choose(logits: Tensor, sampling: Sampling, generator: torch.Generator) -> int:
    """Sample a token id from the logits (V,)."""
    logits = logits.float().cpu()
    if sampling.temperature == 0:
        return int(logits.argmax())
    logits = logits / sampling.temperature
    if 0 < sampling.top_k < len(logits):
        logits = logits.masked_fill(logits < logits.topk(sampling.top_k).values[-1], float("-inf"))
    return int(torch.multinomial(logits.softmax(-1), 1, generator=generator))
