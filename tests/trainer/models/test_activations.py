"""Fused activations compute the same functions as those that they replace."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM
from transformers.activations import ACT2FN

from trainer.models import model
from trainer.models.activations import fuse


@pytest.mark.parametrize("name", ["gelu_new", "gelu_fast"])
def test_a_fused_activation_is_the_same_function_and_has_the_same_gradient(name: str) -> None:
    holder = nn.Sequential(ACT2FN[name])
    x = torch.linspace(-12, 12, 4001, dtype=torch.float64, requires_grad=True)
    written_out = holder(x)
    [gradient] = torch.autograd.grad(written_out.sum(), x)
    fuse(holder)
    assert type(holder[0]) is nn.GELU
    fused = holder(x)
    torch.testing.assert_close(fused, written_out, rtol=1e-8, atol=1e-8)
    torch.testing.assert_close(torch.autograd.grad(fused.sum(), x)[0], gradient, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("name", ["gelu", "silu", "relu", "gelu_pytorch_tanh"])
def test_other_activations_are_unchanged(name: str) -> None:
    holder = nn.Sequential(ACT2FN[name])
    before = holder[0]
    fuse(holder)
    assert holder[0] is before


def test_models_get_the_fused_activation_and_keep_weights_and_configuration() -> None:
    config = AutoConfig.for_model(
        "gpt2", n_layer=1, n_embd=8, n_head=2, vocab_size=11, eos_token_id=0, bos_token_id=0
    )
    network: Any = model.build(config, None, seed=3)[0]
    torch.manual_seed(3)
    plain = AutoModelForCausalLM.from_config(config)
    assert any(type(module) is nn.GELU for module in network.modules())
    assert network.config.activation_function == "gelu_new"
    ours, theirs = network.state_dict(), plain.state_dict()
    assert ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)
    tokens = torch.arange(11)[None]
    torch.testing.assert_close(network.eval()(tokens).logits, plain.eval()(tokens).logits)
