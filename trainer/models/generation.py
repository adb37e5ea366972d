"""Sample tokens from a model, with a key-value cache that is no larger than the model's windows."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Generator
from typing import Any

import torch
from torch import Tensor
from transformers import Cache

from trainer.attention.kv_cache import cache_argument, make_cache
from trainer.models import rope
from trainer.models.sampling import Sampling, choose

# Tokens of a prompt in one forward pass. The first pass runs torch's causal kernel, the others blocks over earlier keys, which
# take more than twice as long: with eight passes, a prompt of 4,096 tokens takes 1.2 times as long as with one.
PREFILL = 4096


@torch.inference_mode()
def generate(
    model: Any,
    prompt: list[int],
    sampling: Sampling,
    end_id: int,
    vocab_size: int,
    prefill: int = PREFILL,
    stops: Collection[int] = (),
    done: Callable[[Cache], object] | None = None,
) -> Generator[int, None, None]:
    """Yield new tokens up to the end-of-text token or another of `stops`, which is not included.

    When a model with a fixed number of positions runs out of them, the last half of the text becomes its prompt. When
    the frequencies of its rotary positions change, the text is processed again, because the cache depends on the old ones.

    Args:
        model: a causal language model of transformers.
        prompt: token ids; an empty prompt becomes the end-of-text token.
        vocab_size: of the tokenizer. A model may have more ids; they are never chosen.
        prefill: tokens of the prompt in one forward pass; affects only memory.
        stops: tokens that also end the text, such as the one that ends an answer.
        done: called with the cache at the end of the text, also if not all of it was taken.
    """
    generator = torch.Generator().manual_seed(sampling.seed)
    positions = rope.max_length(model.config)
    text = [*prompt] or [end_id]
    cached = 0  # number of tokens of the text that are in the cache
    try:
        for _ in range(sampling.max_new_tokens):
            if positions and len(text) > positions:
                text, cached = text[-(positions // 2 or 1) :], 0
            if not cached or rope.frequencies(model.config, cached) != rope.frequencies(
                model.config, len(text)
            ):
                cache, cached = make_cache(model.config), 0
            logits = _next_logits(model, text, cached, cache, prefill)
            cached = len(text)
            token = choose(logits[:vocab_size], sampling, generator, text)
            if token == end_id or token in stops:
                return
            yield token
            text.append(token)
    finally:
        if done and cached:
            done(cache)
        if rope.frequencies(model.config, len(text)):
            rope.restore(model, text)


def _next_logits(model: Any, text: list[int], cached: int, cache: Cache, prefill: int) -> Tensor:
    """The logits (V,) of the token after a text, of which the first tokens are in the cache already."""
    same = rope.frequencies(model.config, cached + prefill) == rope.frequencies(model.config, len(text))
    step = prefill if same else len(text)
    options: dict[str, Any] = {cache_argument(model): cache}
    if "logits_to_keep" in inspect.signature(model.forward).parameters:
        options["logits_to_keep"] = 1
    for first in range(cached, len(text), step):
        part = torch.tensor([text[first : first + step]], device=model.device)
        logits = model(input_ids=part, use_cache=True, **options).logits
    last: Tensor = logits[0, -1]
    return last
