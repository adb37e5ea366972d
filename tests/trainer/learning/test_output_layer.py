"""Separating the output layer does not change a model's predictions, whatever it does to its logits."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForCausalLM

from trainer.attention import huggingface
from trainer.data import Batch
from trainer.device import Precision
from trainer.learning.objective import NextToken
from trainer.learning.output_layer import find

COMMON = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}
COMMON |= {"num_key_value_heads": 2, "head_dim": 8, "vocab_size": 97, "max_position_embeddings": 64}
COMMON |= {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
# Models, each with what it does to its logits.
MODELS: dict[str, dict[str, Any]] = {
    "gpt2": {"n_embd": 32, "n_layer": 2, "n_head": 4, "vocab_size": 97, "n_positions": 64},
    "llama": COMMON,
    "gemma2": COMMON | {"attn_logit_softcapping": None, "final_logit_softcapping": 3.0},
    "gemma3_text": COMMON | {"final_logit_softcapping": 2.0},
    "granite": COMMON | {"logits_scaling": 4.0},
    "cohere2": COMMON | {"logit_scale": 0.25},
    "phi": {name: value for name, value in COMMON.items() if name != "head_dim"},  # a head with a bias
    "bloom": {"hidden_size": 32, "n_layer": 2, "n_head": 4, "vocab_size": 97},
}
CANNOT_ATTACH = {"bloom"}


def network(kind: str) -> Any:
    config = AutoConfig.for_model(kind, **MODELS[kind])
    if kind not in CANNOT_ATTACH:
        huggingface.attach(config, backend="sdpa", window=None)
    torch.manual_seed(0)
    made = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    with torch.no_grad():
        for parameter in made.get_output_embeddings().parameters():
            parameter.normal_(std=0.5)  # logits large enough for the softcap to matter
    return made.eval()


def batch() -> Batch:
    generator = torch.Generator().manual_seed(1)
    tokens = torch.randint(3, 97, (2, 17), generator=generator)
    targets = torch.where(torch.rand(2, 17, generator=generator) < 0.2, -100, tokens.roll(-1, 1))
    return Batch(tokens, targets, None)


def whole(model: Any, batch: Batch) -> tuple[Tensor, int]:
    logits = model(input_ids=batch.tokens, use_cache=False).logits.float()
    loss = F.cross_entropy(logits.flatten(0, 1), batch.targets.flatten(), reduction="sum")
    return loss, int((logits.argmax(-1) == batch.targets).sum())


def gradients(model: Any, loss: Tensor) -> dict[str, Tensor]:
    loss.backward()
    found = {name: parameter.grad for name, parameter in model.named_parameters()}
    model.zero_grad()
    return {name: gradient for name, gradient in found.items() if gradient is not None}


@pytest.mark.parametrize("kind", MODELS)
def test_the_loss_equals_that_of_the_whole_model(kind: str) -> None:
    model = network(kind)
    objective = NextToken(model, Precision(torch.float32))
    assert objective.output_layer is not None
    expected, correct = whole(model, batch())
    [part] = objective.parts(batch())
    torch.testing.assert_close(part.loss, expected, rtol=1e-6, atol=0)
    found, wanted = gradients(model, part.loss), gradients(model, expected)
    assert found.keys() == wanted.keys()
    for name, gradient in wanted.items():
        # Sums of many terms: near zero, an element is as exact as the largest ones.
        largest = float(gradient.abs().max())
        torch.testing.assert_close(found[name], gradient, rtol=1e-4, atol=1e-5 * max(1.0, largest), msg=name)
    score = objective.score(batch())
    assert score.nats == pytest.approx(expected.item(), rel=1e-6)
    assert score.correct == correct
    assert score.valid == (batch().targets >= 0).sum()


@pytest.mark.parametrize("kind", ["gpt2", "gemma2"])
def test_in_bfloat16_the_loss_is_as_exact_as_with_autocast(kind: str) -> None:
    model = network(kind)
    exact = whole(model, batch())[0].item()
    with torch.autocast("cpu", torch.bfloat16):
        theirs = whole(model, batch())[0].item()
    [part] = NextToken(model, Precision(torch.bfloat16)).parts(batch())
    assert part.loss.dtype == torch.float32
    assert abs(part.loss.item() - exact) < 1.1 * abs(theirs - exact) + 1e-4 * exact


class Halved(nn.Module):
    """A model that changes its logits in an unknown way."""

    def __init__(self, model: Any, change: Any) -> None:
        super().__init__()
        self.model, self.change, self.config = model, change, model.config

    def get_output_embeddings(self) -> nn.Module:
        found: nn.Module = self.model.get_output_embeddings()
        return found

    def forward(self, **inputs: Any) -> Any:
        output = self.model(**inputs)
        output.logits = self.change(output.logits)
        return output


@pytest.mark.parametrize("change", [lambda x: x / 2, lambda x: 50 * torch.tanh(x / 50), lambda x: x + 1e-2])
def test_logits_changed_in_an_unknown_way_are_computed_in_full(change: Any) -> None:
    model = Halved(network("llama"), change)
    objective = NextToken(model, Precision(torch.float32))
    assert objective.output_layer is None
    expected, correct = whole(model, batch())
    [part] = objective.parts(batch())
    torch.testing.assert_close(part.loss, expected)
    assert objective.score(batch()).correct == correct


def test_an_output_layer_that_is_not_a_plain_linear_layer_is_called() -> None:
    class Doubled(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            return 2 * super().forward(x)

    model = network("llama")
    head = Doubled(32, 97, bias=False)
    model.set_output_embeddings(head)
    objective = NextToken(model, Precision(torch.float32))
    assert objective.output_layer is None
    [part] = objective.parts(batch())
    torch.testing.assert_close(part.loss, whole(model, batch())[0])


def test_finding_the_output_layer_draws_no_random_numbers_and_does_not_change_the_model() -> None:
    model = network("gpt2").train()
    names = set(vars(model.get_output_embeddings()))
    before = torch.get_rng_state()
    assert NextToken(model, Precision(torch.float32)).output_layer is not None
    assert torch.equal(torch.get_rng_state(), before)
    assert model.training
    assert set(vars(model.get_output_embeddings())) == names


def test_the_router_loss_is_added_as_transformers_adds_it() -> None:
    """It was dropped in silence, because the loss is computed from hidden states."""
    values = COMMON | {"num_local_experts": 4, "num_experts_per_tok": 2, "sliding_window": None}
    config = AutoConfig.for_model("mixtral", **values, output_router_logits=True, router_aux_loss_coef=0.5)
    huggingface.attach(config, backend="sdpa")
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32).train()
    sample = batch()
    [part] = NextToken(model, Precision(torch.float32)).parts(sample)
    # transformers shifts labels itself.
    labels = torch.cat([torch.full((2, 1), -100), sample.targets[:, :-1]], dim=1)
    valid = int(sample.valid_tokens())
    ce = whole(model, sample)[0] / valid
    theirs = model(input_ids=sample.tokens, labels=labels, use_cache=False)
    assert (theirs.loss - 0.5 * theirs.aux_loss).item() == pytest.approx(
        F.cross_entropy(theirs.logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten()).item(), rel=1e-5
    )
    torch.testing.assert_close(part.loss / valid, ce + 0.5 * theirs.aux_loss, rtol=1e-5, atol=0)
    torch.testing.assert_close(part.measured["router_loss"] / valid, 0.5 * theirs.aux_loss.detach())
    assert NextToken(model, Precision(torch.float32)).score(sample).nats == pytest.approx(ce.item() * valid)


def test_an_output_layer_that_cannot_be_tested_is_none() -> None:
    class Odd(nn.Module):
        def get_output_embeddings(self) -> nn.Module:
            raise NotImplementedError

    assert find(Odd()) is None
