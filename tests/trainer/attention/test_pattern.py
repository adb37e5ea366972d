"""Windows of layers: as requested, as transformers configures them, and as models on our attention apply them."""

from __future__ import annotations

import pytest
import torch
from transformers import (
    AttentionInterface,
    AttentionMaskInterface,
    AutoConfig,
    AutoModelForCausalLM,
    Gemma2Config,
    Gemma3TextConfig,
    LlamaConfig,
    MistralConfig,
    Qwen2Config,
    Qwen3Config,
)
from transformers.masking_utils import eager_mask
from transformers.models.gemma2.modeling_gemma2 import eager_attention_forward

from tests.trainer.attention.tiny_models import CONFIGS, SMALL, WINDOW, build, gpt2, tokens
from trainer.attention import mask
from trainer.attention.huggingface import attach
from trainer.attention.pattern import layer_windows, own_windows, repeat, trained_windows


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ((5, 8), (8, 8, 8, 8, 8)),
        ((3, None), (None, None, None)),
        ((3, 0), (None, None, None)),
        ((6, 8, "SSSL"), (8, 8, 8, None, 8, 8)),
        ((3, 8, "SSSL"), (8, 8, 8)),
        ((4, 8, "LS"), (None, 8, None, 8)),
        ((2, 8, "L"), (None, None)),
        ((5, None, [4, 16, 0]), (4, 16, None, 4, 16)),
        ((2, None, (4, None)), (4, None)),
        ((4, 8, "S", [-1]), (8, 8, 8, None)),
        ((4, 8, "S", [0, -1]), (None, 8, 8, None)),
        ((1, 8, "S", [0, -1]), (None,)),
        ((4, None, [4, 16], [2]), (4, 16, None, 16)),
    ],
)
def test_a_pattern_is_repeated_over_the_layers(arguments, expected):
    assert repeat(*arguments) == expected


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((4, 8, "SXL"), "made of S .window. and L .none., got 'SXL'"),
        ((4, 8, "sl"), "got 'sl'"),
        ((4, 8, ""), "must not be empty"),
        ((4, 8, []), "must not be empty"),
        ((4, -1), "window must not be negative, got -1"),
        ((4, None, [3, -2]), "window must not be negative, got -2"),
        ((4, 8, "S", [4]), "there is no layer 4: the model has 4"),
        ((4, 8, "S", [-5]), "there is no layer -5"),
    ],
)
def test_an_invalid_pattern_is_rejected(arguments, says):
    with pytest.raises(ValueError, match=says):
        repeat(*arguments)


def gemma(kind, **changes):
    return kind(**{**SMALL, "num_hidden_layers": 7}, head_dim=8, sliding_window=WINDOW, **changes)


def qwen(kind, **changes):
    return kind(**{**SMALL, "num_hidden_layers": 4}, sliding_window=WINDOW, **changes)


PUBLISHED = {
    **CONFIGS,
    "mistral without": lambda: MistralConfig(**SMALL, sliding_window=None),
    "qwen2, not used": lambda: qwen(Qwen2Config, max_window_layers=2),
    "qwen2, from layer 2": lambda: qwen(Qwen2Config, use_sliding_window=True, max_window_layers=2),
    "qwen3, from layer 3": lambda: qwen(Qwen3Config, use_sliding_window=True, max_window_layers=3),
    "gemma2, every other": lambda: gemma(Gemma2Config),
    "gemma3, five of six": lambda: gemma(Gemma3TextConfig),
    "gemma3, two of three": lambda: gemma(Gemma3TextConfig, sliding_window_pattern=3),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_windows_of_a_configuration_match_the_masks_of_transformers(name):
    config, seen = PUBLISHED[name](), {}

    def remember(module, query, key, value, attention_mask, **_):
        seen[module.layer_idx] = attention_mask[0, 0] == 0
        return query.transpose(1, 2).contiguous(), None

    AttentionInterface.register("remember", remember)
    AttentionMaskInterface.register("remember", eager_mask)
    config._attn_implementation = "remember"
    AutoModelForCausalLM.from_config(config)(tokens(1, 30), use_cache=False)
    windows = layer_windows(config)
    assert windows == own_windows(config)
    assert sorted(seen) == list(range(len(windows)))
    for layer, window in enumerate(windows):
        assert torch.equal(seen[layer], mask(30, 30, window)), layer


def logits_and_gradients(model, inputs):
    result = model(inputs, labels=inputs, use_cache=False)
    result.loss.backward()
    return result.logits.detach(), {name: p.grad for name, p in model.named_parameters()}


@pytest.mark.parametrize("asked", [(7, None), (None, 30), (30, 5)])
@pytest.mark.parametrize("backend", ["sdpa", "manual"])
@pytest.mark.parametrize("name", CONFIGS)
def test_each_layer_attends_with_its_own_window(name, backend, asked):
    reference = CONFIGS[name]()

    def dense(module, query, key, value, attention_mask, scaling=None, softcap=None, **_):
        both = [window for window in (own[module.layer_idx], asked[module.layer_idx]) if window]
        hidden = ~mask(60, 60, min(both, default=None))
        bias = torch.zeros(60, 60).double().masked_fill(hidden, -1e9)
        module.num_key_value_groups = query.shape[1] // key.shape[1]
        return eager_attention_forward(module, query, key, value, bias[None, None], 0.0, scaling, softcap)

    own = own_windows(reference)
    AttentionInterface.register("dense", dense)
    AttentionMaskInterface.register("dense", lambda *_, **__: None)
    model = build(CONFIGS[name](), backend=backend, window=asked)
    expected = build(reference)
    expected.set_attn_implementation("dense")
    torch.testing.assert_close(
        logits_and_gradients(model, tokens(2, 60)),
        logits_and_gradients(expected, tokens(2, 60)),
        atol=1e-6,
        rtol=1e-5,
    )


def test_windows_are_saved_with_the_model(tmp_path):
    build(gpt2(), backend="sdpa", window=(9, None)).save_pretrained(tmp_path)
    assert trained_windows(AutoConfig.from_pretrained(tmp_path)) == (9, None)


def test_the_smaller_of_two_windows_counts():
    config = gemma(Gemma3TextConfig, sliding_window_pattern=3)
    attach(config, window=repeat(7, 5, "LLSS"))
    assert layer_windows(config) == (11, 11, 5, 5, 11, None, 5)
    attach(config, window=64)
    assert layer_windows(config) == (11, 11, 64, 11, 11, 64, 11)


def test_as_many_windows_as_layers_are_needed():
    with pytest.raises(ValueError, match="got 3 windows for 2 layers"):
        attach(gpt2(), window=[1, 2, 3])


def test_a_window_in_the_configuration_that_the_model_ignores_is_refused():
    model = build(LlamaConfig(**{**SMALL, "sliding_window": 5}), backend="sdpa")
    with pytest.raises(ValueError, match="attends with the window None, but its configuration says 5"):
        model(tokens(1, 9))


def test_layers_without_attention_are_refused():
    config = Qwen3Config(**SMALL, layer_types=["full_attention", "linear_attention"])
    with pytest.raises(ValueError, match="layers of the type linear_attention"):
        attach(config)
