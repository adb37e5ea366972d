"""The proof on a built model finds tokens that reach others where they must not."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import AutoConfig, AutoModelForCausalLM, LlamaConfig

from tests.trainer.attention.tiny_models import SMALL
from trainer.attention import huggingface
from trainer.attention.call_trace import traced
from trainer.attention.model_proof import ModelProof, prove
from trainer.models.model import checkpoint_activations


def network(kind: str = "llama", window: int | None = None) -> Any:
    config = AutoConfig.for_model(kind, **SMALL)
    huggingface.attach(config, backend="sdpa", window=window)
    torch.manual_seed(0)
    return AutoModelForCausalLM.from_config(config, dtype=torch.float32)


@pytest.mark.parametrize("kind", ["llama", "mistral", "nemotron", "gpt_neox"])
def test_models_of_transformers_keep_tokens_apart(kind: str) -> None:
    model = network(kind, window=7).train()
    state = torch.get_rng_state()
    assert prove(model) == ModelProof()
    assert model.training
    assert torch.equal(torch.get_rng_state(), state)


def running_sum(module: Any, inputs: Any, hidden: Tensor) -> Tensor:
    return hidden.cumsum(1)


def reversed_sum(module: Any, inputs: Any, hidden: Tensor) -> Tensor:
    return hidden.flip(1).cumsum(1).flip(1)


def test_a_path_beside_attention_breaks_isolation_and_windows() -> None:
    model = network(window=3)
    model.model.layers[0].mlp.register_forward_hook(running_sum)
    proof = prove(model)
    assert proof.causality is None
    assert proof.failures(packed=False, windows=False) == []
    assert proof.failures(packed=True, windows=False) == [
        "a document depends on the one before it in its row"
    ]
    assert proof.failures(packed=False, windows=True) == [
        "tokens reach others outside of attention, where no window applies"
    ]


def test_a_path_from_later_tokens_breaks_causality() -> None:
    model = network()
    model.model.layers[0].mlp.register_forward_hook(reversed_sum)
    assert prove(model).failures(packed=False, windows=False) == ["a token depends on later ones"]


def test_a_layer_without_documents_is_found_even_if_logits_do_not_move(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = network()
    for layer in model.model.layers:
        torch.nn.init.zeros_(layer.self_attn.o_proj.weight)
    attention = type(model.model.layers[1].self_attn)
    forward = attention.forward

    def without_mask(self: Any, hidden_states: Tensor, **others: Any) -> Any:
        if self.layer_idx == 1:
            others["attention_mask"] = None
        return forward(self, hidden_states, **others)

    monkeypatch.setattr(attention, "forward", without_mask)
    assert prove(model).isolation == "layers 1 do not receive the documents of a row"


def test_documents_reach_layers_that_drop_keywords_with_checkpointed_activations() -> None:
    """Nemotron's layers take keywords and drop them, so `document_ids` as a keyword had no effect."""
    inputs = torch.randint(1, 61, (2, 12), generator=torch.Generator().manual_seed(0))
    ids = (torch.arange(12) >= 5).long().expand(2, -1)
    model = network("nemotron").train()
    gradients = []
    for checkpointed in (False, True):
        if checkpointed:
            checkpoint_activations(model)
        with huggingface.documents(ids):
            logits = model(input_ids=inputs, use_cache=False).logits
        logits[:, 5:].square().sum().backward()
        gradients.append({name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None})
        model.zero_grad()
    alone = model.eval()(input_ids=inputs[:, :5], use_cache=False).logits
    torch.testing.assert_close(logits[:, :5], alone)
    torch.testing.assert_close(*gradients)


def test_a_trace_has_the_layers_own_widths_and_windows() -> None:
    model = network(window=5)
    with traced() as trace, torch.no_grad():
        model(input_ids=torch.ones(1, 3, dtype=torch.long))
    assert [
        (call.layer, call.query_heads, call.key_heads, call.head_dim, call.window) for call in trace.calls
    ] == [
        (0, 4, 2, 8, 5),
        (1, 4, 2, 8, 5),
    ]


def test_attach_proves_the_model_that_it_is_given() -> None:
    model = AutoModelForCausalLM.from_config(LlamaConfig(**SMALL), attn_implementation="eager")
    model.model.layers[0].mlp.register_forward_hook(reversed_sum)
    with pytest.raises(ValueError, match="a token depends on later ones"):
        huggingface.attach(model, backend="sdpa")
    assert model.config._attn_implementation == "eager"
    sound = AutoModelForCausalLM.from_config(LlamaConfig(**SMALL), attn_implementation="eager")
    huggingface.attach(sound, backend="sdpa")
    assert sound.config._attn_implementation == "aios_torch"


@pytest.mark.parametrize("kind", ["nemotron", "llama"])
def test_a_built_model_keeps_documents_given_by_keyword_apart(kind: str) -> None:
    """Nemotron drops the keyword, so its documents saw each other, without an error."""
    config = AutoConfig.for_model(kind, **SMALL)
    model = AutoModelForCausalLM.from_config(config, attn_implementation="eager").eval()
    for _ in range(2):
        huggingface.attach(model, backend="sdpa")
    assert len(model._forward_hooks) == (kind == "nemotron")
    inputs, ids = torch.randint(1, 61, (1, 12)), (torch.arange(12) >= 6).long()[None]
    changed = torch.cat([(inputs[:, :1] + 7) % 61, inputs[:, 1:]], dim=1)
    with torch.no_grad():
        for copied in (model, copy.deepcopy(model)):
            before, after = (
                copied(each, document_ids=ids, use_cache=False).logits for each in (inputs, changed)
            )
            assert torch.equal(before[:, 6:], after[:, 6:]) and not torch.equal(before, after)
        with pytest.raises(ValueError, match="together with padding"):
            model(inputs, document_ids=ids, attention_mask=ids, use_cache=False)
        joined = [model(each, use_cache=False).logits[:, 6:] for each in (inputs, changed)]
    assert not torch.equal(*joined)
