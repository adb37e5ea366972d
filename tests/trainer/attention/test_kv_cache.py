"""The cache of a model with windows: its size is fixed, and the model's output is the same as without a cache."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
import transformers
from packaging.version import Version
from transformers import GPT2Config, LlamaConfig, MistralConfig
from transformers.cache_utils import DynamicSlidingWindowLayer

from tests.trainer.attention.tiny_models import CONFIGS, SMALL, build, cache_bytes, gpt2, tokens
from trainer.attention.kv_cache import EXTRA_SLOTS, SlidingLayer, cache_argument, make_cache

W = 12
LONG = 10 * W + 7
FOUR = {**SMALL, "num_hidden_layers": 4}
# Models with windows, and the argument `window` of `attach`.
WINDOWED = {
    "gpt2": (lambda: GPT2Config(**{**gpt2().to_dict(), "n_layer": 4}), W),
    "gpt2, SSSL": (lambda: GPT2Config(**{**gpt2().to_dict(), "n_layer": 4}), (W, W, W, None)),
    "llama": (lambda: LlamaConfig(**FOUR), W),
    "llama, LSSL": (lambda: LlamaConfig(**FOUR), (None, W, W, None)),
    "llama, of several sizes": (lambda: LlamaConfig(**FOUR), (1, 2, W, 5 * W)),
    "mistral": (lambda: MistralConfig(**FOUR, sliding_window=W), None),
    "mistral, narrower": (lambda: MistralConfig(**FOUR, sliding_window=W), (5, None, 5, None)),
}


def windowed(name, **changes):
    config, window = WINDOWED[name]
    return build(config(), backend="sdpa", window=window, **changes)


@torch.no_grad()
def in_pieces(model, inputs, lengths, cache=None):
    """Logits (B, S, V) of inputs that are passed in pieces."""
    cache = make_cache(model.config) if cache is None else cache
    parts = inputs.split(lengths, dim=1)
    return torch.cat(
        [model(part, use_cache=True, **{cache_argument(model): cache}).logits for part in parts], dim=1
    )


def pieces(size, total=LONG):
    return [size] * (total // size) + [total % size] * (total % size > 0)


SIZES = [W - 1, W, W + 1, 29, LONG]
SINGLE = ["gpt2, SSSL", "llama, of several sizes", "mistral, narrower"]


@pytest.mark.parametrize(
    ("name", "size"), [*itertools.product(WINDOWED, SIZES), *((name, 1) for name in SINGLE)]
)
def test_inputs_in_pieces_of_any_length_give_the_same_output(name, size):
    model = windowed(name).float()
    inputs = tokens(2, LONG)
    with torch.no_grad():
        whole = model(inputs, use_cache=False).logits
    torch.testing.assert_close(in_pieces(model, inputs, pieces(size)), whole, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", WINDOWED)
def test_a_prompt_in_pieces_followed_by_single_tokens_gives_the_same_output(name):
    model = windowed(name)
    inputs = tokens(1, 256)
    with torch.no_grad():
        whole = model(inputs, use_cache=False).logits
    lengths = [31, W, 1, 100, *[1] * 50, 53, *[1] * 9]
    torch.testing.assert_close(in_pieces(model, inputs, lengths), whole, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("name", ["gpt2", "llama", "mistral"])
def test_cache_memory_does_not_depend_on_the_length(name):
    model = windowed(name)
    cache, seen = make_cache(model.config), []
    for _ in range(11):
        in_pieces(model, tokens(1, W), [1] * W, cache)
        seen.append(cache_bytes(cache))
    keys = model.config.get_text_config()
    per_slot = 2 * 8 * getattr(keys, "num_key_value_heads", 4) * 8  # keys and values, float64, heads of 8
    assert set(seen) == {4 * per_slot * (2 * W - 1)}
    assert cache.get_seq_length() == 11 * W


def test_only_layers_without_a_window_grow():
    model = windowed("llama, LSSL")
    cache = make_cache(model.config)
    in_pieces(model, tokens(1, 200), [100, 100], cache)
    layers: Any = cache.layers
    assert [layer.keys.shape[2] for layer in layers] == [200, 2 * W - 1, 2 * W - 1, 200]
    assert cache.is_sliding == [False, True, True, False]


@pytest.mark.parametrize("window", [1, 2, 5, 300])
def test_the_cache_returns_only_visible_keys_in_order(window):
    layer, position = SlidingLayer(window), 0
    for length in [3, 1, 1, 7, *[1] * 900, 40, 2, 500, 1]:
        new = torch.arange(position, position + length).double().view(1, 1, -1, 1)
        size, offset = layer.get_mask_sizes(length)
        keys, values = layer.update(new, -new)
        position += length
        first = max(0, position - length - (window - 1))
        assert keys.flatten().tolist() == list(range(first, position))
        assert torch.equal(values, -keys)
        assert (size, offset) == (position - first, first)
        assert layer.get_seq_length() == position
    assert layer.keys.shape[2] == window - 1 + min(window, EXTRA_SLOTS)


def test_single_tokens_are_not_copied():
    layer = SlidingLayer(1000)
    copies = 0
    for _ in range(3000):
        new = torch.zeros(1, 1, 1, 1)
        keys, _ = layer.update(new, new)
        copies += (
            keys.data_ptr() < layer.keys.data_ptr()
            or keys.data_ptr() >= layer.keys.data_ptr() + 4 * layer.slots
        )
    assert copies <= 3000 / EXTRA_SLOTS


def test_reset_empties_the_cache_and_keeps_its_memory():
    model = windowed("mistral")
    cache, inputs = make_cache(model.config), tokens(1, 60)
    first = in_pieces(model, inputs, [60], cache)
    before = cache_bytes(cache)
    cache.reset()
    assert cache.get_seq_length() == 0
    torch.testing.assert_close(in_pieces(model, inputs, [7] * 8 + [4], cache), first)
    assert cache_bytes(cache) == before


def test_a_reset_cache_accepts_another_number_of_rows():
    layer = SlidingLayer(5)
    layer.update(*torch.randn(2, 2, 1, 3, 4))
    layer.reset()
    new = torch.randn(1, 1, 3, 4)
    keys, values = layer.update(new, -new)
    assert torch.equal(keys, new)
    assert torch.equal(values, -new)


def numbered(first, last):
    return torch.arange(first, last).double().view(1, 1, -1, 1)


@pytest.mark.parametrize(("before", "removed"), [(4, 2), (4, 4), (7, 3), (60, 4), (65, 3)])
def test_a_cropped_cache_continues_as_if_the_removed_tokens_had_never_been_added(before, removed):
    layer = SlidingLayer(20)
    for position in range(before):
        layer.update(numbered(position, position + 1), numbered(position, position + 1))
    layer.crop(-removed)
    left = before - removed
    assert layer.get_seq_length() == left
    keys, _ = layer.update(numbered(left, left + 3), numbered(left, left + 3))
    assert keys.flatten().tolist() == [*range(max(0, left - 19), left + 3)]


def test_a_crop_that_needs_tokens_that_are_no_longer_stored_is_refused():
    layer = SlidingLayer(5)
    layer.update(numbered(0, 100), numbered(0, 100))
    with pytest.raises(ValueError, match="cannot remove 2 tokens from a cache with a window of 5"):
        layer.crop(-2)
    with pytest.raises(ValueError, match="as a negative number, got 2"):
        layer.crop(2)


def own_cache(model):
    return {cache_argument(model): make_cache(model.config)}


@pytest.mark.parametrize(("name", "beams"), [*((name, 1) for name in CONFIGS), ("gpt2", 3), ("gemma3", 3)])
def test_transformers_generates_the_same_text_with_the_cache_as_without(name, beams):
    model = build(CONFIGS[name](), backend="sdpa", window=(9, 30))
    options = {
        "max_new_tokens": 40,
        "do_sample": False,
        "num_beams": beams,
        "pad_token_id": 0,
        "eos_token_id": None,
    }
    cached = model.generate(tokens(2, 20), **own_cache(model), **options)
    assert torch.equal(cached, model.generate(tokens(2, 20), use_cache=False, **options))


@pytest.mark.parametrize("name", ["gpt2", "llama", "mistral, narrower"])
def test_padded_prompts_generate_the_same_text_as_alone(name):
    model = windowed(name)
    prompts = [tokens(1, 40), tokens(1, 5) + 1 - tokens(1, 5) // 60]
    padded = torch.zeros(2, 40, dtype=torch.long)
    kept = torch.zeros_like(padded)
    for row, prompt in enumerate(prompts):
        padded[row, 40 - prompt.shape[1] :], kept[row, 40 - prompt.shape[1] :] = prompt, 1
    options = {"max_new_tokens": 60, "do_sample": False, "pad_token_id": 0, "eos_token_id": None}
    together = model.generate(padded, attention_mask=kept, **own_cache(model), **options)
    for row, prompt in enumerate(prompts):
        alone = model.generate(prompt, **own_cache(model), **options)
        assert torch.equal(together[row, 40:], alone[0, prompt.shape[1] :])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_as_exact_as_without_a_cache(dtype):
    inputs = tokens(1, LONG)
    with torch.no_grad():
        exact = windowed("llama")(inputs, use_cache=False).logits
        model = windowed("llama").to(dtype)
        whole = model(inputs, use_cache=False).logits
    cached = in_pieces(model, inputs, [50, *[1] * (LONG - 50)])
    assert cached.dtype == dtype
    assert (cached - exact).abs().max() <= 2 * (whole - exact).abs().max()


@pytest.mark.skipif(
    Version(transformers.__version__) < Version("5.23"),
    reason="older caches keep their number of rows when reset",
)
@pytest.mark.parametrize("seed", range(20))
def test_the_cache_behaves_like_that_of_transformers(seed):
    """Random tokens in pieces, rows repeated and selected, the last tokens removed, everything forgotten."""
    random = torch.Generator().manual_seed(seed)
    window = int(torch.randint(1, 9, (), generator=random))
    both = ours, theirs = SlidingLayer(window), DynamicSlidingWindowLayer(window)
    rows = 2
    for step in torch.randint(0, 9, (40,), generator=random).tolist():
        if step == 0:
            for layer in both:
                layer.reset()
            rows = int(torch.randint(1, 4, (), generator=random))
        elif step == 1 and rows < 8:
            for layer in both:
                layer.batch_repeat_interleave(2)
            rows *= 2 if theirs.get_seq_length() else 1
        elif step == 2 and theirs.get_seq_length():
            kept = torch.randperm(rows, generator=random)[: max(1, rows // 2)]
            for layer in both:
                layer.batch_select_indices(kept)
            rows = len(kept)
        elif step == 3 and 1 < theirs.get_seq_length() < window:
            for layer in both:
                layer.crop(-1)
        else:
            new = torch.randn(2, rows, 1, step, 4, generator=random)
            mine, wanted = ours.update(*new), theirs.update(*new)
            visible = min(theirs.get_seq_length(), window - 1 + step)  # theirs may return more
            for x, y in zip(mine, wanted, strict=True):
                assert torch.equal(x, y[:, :, -visible:])
        assert ours.get_seq_length() == theirs.get_seq_length()
        assert ours.get_mask_sizes(3) == theirs.get_mask_sizes(3)
