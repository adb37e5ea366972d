"""transformers models give the same results on our attention as on transformers' own eager attention."""

from __future__ import annotations

import copy
import json

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    DogeConfig,
    DynamicCache,
    Gemma3TextConfig,
    Gemma4TextConfig,
    GptOssConfig,
    HrmTextConfig,
    Llama4TextConfig,
    MistralConfig,
    StaticCache,
)

from tests.trainer.attention.tiny_models import CONFIGS, SMALL, build, gpt2, tokens
from trainer.attention.huggingface import attach
from trainer.attention.kv_cache import cache_argument
from trainer.attention.pattern import trained_windows


def dense_masks(config, length, window=None, ids=None):
    """The masks of the definition for eager attention: (B, 1, S, S), or one for each type of layer."""
    i, j = torch.arange(length)[:, None], torch.arange(length)

    def dense(windows):
        sees = (j <= i) & (i - j < min(w for w in (*windows, length) if w))
        if ids is not None:
            sees = sees & (ids[:, :, None] == ids[:, None, :])
        return torch.zeros(sees.shape).double().masked_fill(~sees, -1e9).view(-1, 1, length, length)

    own = getattr(config, "sliding_window", None)
    if getattr(config, "layer_types", None):
        return {"full_attention": dense([window]), "sliding_attention": dense([window, own])}
    return dense([window, own])


def loss_and_gradients(model, inputs, **options):
    result = model(inputs, labels=inputs, use_cache=False, **options)
    model.zero_grad()
    result.loss.backward()
    return result.logits.detach(), {name: p.grad for name, p in model.named_parameters()}


def assert_same(ours, theirs):
    # Eager attention computes its softmax in float32.
    torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize(
    ("window", "backend"), [(None, "sdpa"), (7, "sdpa"), (100, "sdpa"), (7, "manual"), (None, "auto")]
)
@pytest.mark.parametrize("name", CONFIGS)
def test_logits_and_gradients_are_those_of_eager_attention(name, window, backend):
    inputs, eager = tokens(), build(CONFIGS[name]())
    ours = loss_and_gradients(build(CONFIGS[name](), backend=backend, window=window), inputs)
    assert_same(
        ours, loss_and_gradients(eager, inputs, attention_mask=dense_masks(eager.config, 150, window))
    )
    if window is None:
        assert_same(ours, loss_and_gradients(eager, inputs))


@pytest.mark.parametrize("window", [None, 20])
@pytest.mark.parametrize("name", CONFIGS)
def test_documents_are_passed_through_the_model(name, window):
    inputs, eager = tokens(), build(CONFIGS[name]())
    ids = (torch.arange(150) // 40).expand(2, -1)
    model = build(CONFIGS[name](), backend="sdpa", window=window)
    ours = loss_and_gradients(model, inputs, document_ids=ids)
    masks = dense_masks(eager.config, 150, window, ids)
    assert_same(ours, loss_and_gradients(eager, inputs, attention_mask=masks))


@pytest.mark.parametrize("name", CONFIGS)
def test_activation_checkpointing_changes_nothing(name):
    inputs, ids = tokens(), (torch.arange(150) // 40).expand(2, -1)
    config = CONFIGS[name]()
    for dropout in ("attn_pdrop", "resid_pdrop", "embd_pdrop", "attention_dropout"):
        if hasattr(config, dropout):
            setattr(config, dropout, 0.1)
    model = build(config, backend="sdpa", window=9).train()
    torch.manual_seed(2)
    plain = loss_and_gradients(model, inputs, document_ids=ids)
    model.activation_checkpointing_enable()
    torch.manual_seed(2)
    torch.testing.assert_close(loss_and_gradients(model, inputs, document_ids=ids), plain)


@pytest.mark.parametrize("window", [None, 5])
@pytest.mark.parametrize("name", CONFIGS)
def test_cached_generation_equals_full_recomputation(name, window):
    model = build(CONFIGS[name](), backend="sdpa", window=window)
    prompt = tokens(length=6)
    options = {"max_new_tokens": 30, "do_sample": False, "pad_token_id": 0, "eos_token_id": None}
    cached = model.generate(prompt, use_cache=True, **options)
    assert torch.equal(cached, model.generate(prompt, use_cache=False, **options))
    with torch.no_grad():
        whole = model(cached, use_cache=False).logits
        cache = DynamicCache(config=model.config)
        pieces = [
            model(part, **{cache_argument(model): cache}).logits
            for part in cached.split([6, 1, 9, 20], dim=1)
        ]
    torch.testing.assert_close(torch.cat(pieces, dim=1), whole)


def test_the_window_is_saved_with_the_model_but_the_backend_is_not(tmp_path):
    model = build(gpt2(), backend="sdpa", window=9)
    names = set(model.state_dict())
    assert names == set(build(gpt2()).state_dict())
    model.save_pretrained(tmp_path)
    saved = json.loads((tmp_path / "config.json").read_text(encoding="utf-8"))
    assert saved["aios_windows"] == [9, 9]
    assert not any("aios" in str(value) or value == "sdpa" for value in saved.values())
    again = AutoModelForCausalLM.from_pretrained(tmp_path, dtype=torch.float64).eval()
    assert trained_windows(again.config) == (9, 9)
    attach(again.config, backend="manual", window=trained_windows(again.config))
    torch.testing.assert_close(again(tokens()).logits, model(tokens()).logits)


def test_a_model_without_a_window_has_none_in_its_configuration():
    assert trained_windows(gpt2()) == (None, None)
    config = gpt2()
    attach(config, window=0)
    assert trained_windows(config) == (None, None)


def test_a_compiled_model_is_one_graph_with_the_same_results():
    model = build(MistralConfig(**{**SMALL, "num_hidden_layers": 1}, sliding_window=9), backend="sdpa")
    inputs = tokens(2, 140)

    def gradients(network):
        network(inputs, use_cache=False).logits.square().mean().backward()
        found = {name: p.grad for name, p in model.named_parameters()}
        model.zero_grad()
        return found

    plain = gradients(model)
    torch.testing.assert_close(gradients(torch.compile(model, backend="aot_eager", fullgraph=True)), plain)


class NoSquare(TorchDispatchMode):
    """Fails on any tensor with two dimensions of the sequence's length."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        if isinstance(result, torch.Tensor):
            assert list(result.shape).count(777) < 2, f"{func} made {tuple(result.shape)}"
        return result


@pytest.mark.parametrize("name", CONFIGS)
def test_no_square_mask_is_made(name):
    config = CONFIGS[name]()
    config.max_position_embeddings = 777
    model = build(config, backend="sdpa", window=50)
    inputs = tokens(batch=1, length=777)
    with NoSquare():
        model(inputs, labels=inputs, attention_mask=torch.ones_like(inputs)).loss.backward()


def test_padding_on_the_right_changes_no_real_token():
    model = build(gpt2(), backend="sdpa", window=5)
    inputs = tokens(batch=2, length=12)
    padding = torch.ones_like(inputs)
    padding[1, 8:] = 0
    with torch.no_grad():
        padded = model(inputs, attention_mask=padding).logits[1, :8]
        torch.testing.assert_close(padded, model(inputs[1:, :8]).logits[0])


PADDING = {
    "left": [[0] * 15 + [1] * 25, [1] * 40],
    "between": [[1] * 9 + [0] * 3 + [1] * 28, [0] * 2 + [1] * 38],
    "right": [[1] * 25 + [0] * 15, [1] * 40],
}


@pytest.mark.parametrize("padding", PADDING.values(), ids=PADDING)
@pytest.mark.parametrize("backend", ["sdpa", "manual"])
@pytest.mark.parametrize("name", CONFIGS)
def test_padding_gives_the_same_results_as_eager_attention(name, backend, padding):
    inputs, kept = tokens(2, 40), torch.tensor(padding)
    # In float32, because eager attention gives NaN in float64 for rows with every key masked.
    counts = kept.clone()  # the token after padding is not a target: the two ways differ in what padding sees
    counts[:, 1:] &= kept[:, :-1]
    labels = inputs.masked_fill(counts == 0, -100)
    results = []
    for model in (build(CONFIGS[name](), backend=backend).float(), build(CONFIGS[name]()).float()):
        output = model(inputs, attention_mask=kept, labels=labels, use_cache=False)
        output.loss.backward()
        results.append((output.logits[kept == 1], {n: p.grad for n, p in model.named_parameters()}))
    torch.testing.assert_close(*results, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("name", CONFIGS)
def test_padded_batches_generate_the_same_text_as_eager_attention(name):
    options = {"max_new_tokens": 20, "do_sample": False, "pad_token_id": 0, "eos_token_id": None}
    kept = torch.tensor([[0] * 6 + [1] * 9, [1] * 15])
    ours = (
        build(CONFIGS[name](), backend="sdpa").float().generate(tokens(2, 15), attention_mask=kept, **options)
    )
    eager = build(CONFIGS[name]()).float().generate(tokens(2, 15), attention_mask=kept, **options)
    assert torch.equal(ours, eager)


@pytest.mark.parametrize(
    "positions",
    [[*range(20), *range(30)], [*range(3), *range(1), *range(46)], [*range(1, 30), *range(90, 111)]],
)
@pytest.mark.parametrize("name", CONFIGS)
def test_packed_sequences_are_separated_by_position_ids(name, positions):
    options = {"position_ids": torch.tensor([positions, range(50)])}
    model, eager = build(CONFIGS[name](), backend="sdpa"), build(CONFIGS[name]())
    assert_same(
        loss_and_gradients(model, tokens(2, 50), **options),
        loss_and_gradients(eager, tokens(2, 50), **options),
    )


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"attention_mask": torch.ones(1, 1, 8, 8)}, "gets a 4-dimensional attention mask"),
        (
            {
                "attention_mask": torch.tensor([[0, 1, 1, 1, 1, 1, 1, 1]]),
                "document_ids": torch.zeros(1, 8).long(),
            },
            "document_ids together with padding",
        ),
    ],
)
def test_unsupported_masks_are_rejected(options, says):
    with pytest.raises(ValueError, match=says):
        build(gpt2(), backend="sdpa")(tokens(1, 8), **options)


def test_static_cache_is_refused():
    model = build(CONFIGS["llama"](), backend="sdpa")
    with torch.no_grad(), pytest.raises(ValueError, match="default"):
        model(tokens(1, 5), **{cache_argument(model): StaticCache(config=model.config, max_cache_len=20)})


@pytest.mark.parametrize(
    ("config", "says"),
    [
        (lambda: Llama4TextConfig(num_hidden_layers=2), "attention_chunk_size = 8192 attends in chunks"),
        (lambda: Gemma3TextConfig(**SMALL, use_bidirectional_attention=True), "attends in both directions"),
    ],
)
def test_models_with_unsupported_attention_are_rejected(config, says):
    with pytest.raises(ValueError, match=f"{says}, which no backend supports"):
        attach(config())


@pytest.mark.parametrize("kind", ["bloom", "codegen", "falcon", "gptj", "gpt_neo", "mpt"])
def test_models_that_do_not_call_a_backend_are_rejected(kind):
    with pytest.raises(ValueError, match=f"a {kind} model computes attention itself"):
        attach(AutoConfig.for_model(kind), window=3)


def test_models_with_attention_sinks_are_rejected_when_attached():
    config = GptOssConfig(**{**SMALL, "num_local_experts": 2, "num_experts_per_tok": 1, "head_dim": 8})
    with pytest.raises(ValueError, match="a gpt_oss model has learned attention sinks, which no backend"):
        attach(config)


def test_a_model_whose_layers_make_a_mask_of_their_own_is_rejected_when_attached():
    """Doge adds learned scores to its mask; with padding it ended in an IndexError in transformers' code."""
    config = DogeConfig(**SMALL, num_experts=4, num_experts_per_tok=2)
    model = AutoModelForCausalLM.from_config(config, attn_implementation="eager")
    with pytest.raises(ValueError, match="DogeAttention gets a 4-dimensional attention mask"):
        attach(model, backend="sdpa")
    assert model.config._attn_implementation == "eager"


def test_a_models_own_mask_function_is_applied_together_with_an_attention_mask():
    """Gemma 3 and HrmText add one for `token_type_ids`; with a padding mask it was dropped in silence."""
    kinds = torch.tensor([[1] * 5 + [0] * 5])
    config = HrmTextConfig(
        **{**SMALL, "num_key_value_heads": 4, "head_dim": 8, "num_hidden_layers": 4}, prefix_lm=True
    )
    model = build(config, backend="sdpa")
    for mask in (None, torch.ones(1, 10).long()):
        with pytest.raises(ValueError, match="more than a causal mask"):
            model(tokens(1, 10), token_type_ids=kinds, attention_mask=mask)


def gemma4(shared):
    return Gemma4TextConfig(
        **{**SMALL, "num_hidden_layers": 4, "pad_token_id": 0, "global_head_dim": 16},
        head_dim=8,
        num_kv_shared_layers=shared,
        layer_types=["sliding_attention", "full_attention"] * 2,
        sliding_window=4,
        hidden_size_per_layer_input=8,
        vocab_size_per_layer_input=61,
        use_bidirectional_attention=None,
    )


@pytest.mark.parametrize("shared", [0, 2])
def test_layers_that_share_keys_and_values_get_padding_and_packed_positions(shared):
    """They slice a 4-dimensional mask, so document ids of two dimensions ended in an IndexError."""
    left = torch.ones(2, 12).long()
    left[1, :3] = 0
    packed = torch.cat([torch.arange(5), torch.arange(7)])[None].expand(2, -1)
    ours, eager = build(gemma4(shared), backend="sdpa").float(), build(gemma4(shared)).float()
    for options in ({}, {"attention_mask": left}, {"position_ids": packed}):
        kept = options.get("attention_mask", torch.ones(2, 12)).bool()
        with torch.no_grad():
            got, expected = (
                model(tokens(2, 12), use_cache=False, **options).logits[kept] for model in (ours, eager)
            )
        torch.testing.assert_close(got, expected, atol=1e-5, rtol=1e-4)
    how = {"max_new_tokens": 6, "do_sample": False, "eos_token_id": None, "attention_mask": left}
    assert torch.equal(ours.generate(tokens(2, 12), **how), eager.generate(tokens(2, 12), **how))


def test_a_copied_model_gives_the_same_results():
    model = build(gpt2(), backend="sdpa", window=5)
    torch.testing.assert_close(copy.deepcopy(model)(tokens()).logits, model(tokens()).logits)


def test_invalid_settings_are_rejected():
    with pytest.raises(ValueError, match="window must not be negative"):
        attach(gpt2(), window=-2)
    with pytest.raises(ValueError, match="unknown attention backend 'eager'"):
        attach(gpt2(), backend="eager")
