"""HRM ACT v1 is causal in attention and halting, computes what the paper defines, and its cache is exact."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import AutoConfig, AutoModelForCausalLM

from tests.trainer.hrm.plain_hrm import segments, weights_of
from trainer.attention import huggingface
from trainer.attention.kv_cache import make_cache
from trainer.errors import UserError
from trainer.hrm.configuration import HRMConfig
from trainer.hrm.model import Carry
from trainer.models import generation
from trainer.models import model as models
from trainer.models.sampling import Sampling
from trainer.models.tokenizer import ByteTokenizer

SMALL = {
    "hidden_size": 32,
    "num_heads": 2,
    "vocab_size": 258,
    "halt_max_steps": 3,
    "l_layers": 1,
    "h_layers": 2,
}


def build(backend: str = "sdpa", window: Any = None, **changes: Any) -> Any:
    """A model whose positions halt after one segment, two, or three."""
    config = AutoConfig.for_model("hrm_act_v1", **SMALL | changes)
    huggingface.attach(config, backend=backend, window=window)
    torch.manual_seed(0)
    network = AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval()
    with torch.no_grad():
        network.q_head.weight.normal_()
        network.q_head.bias.copy_(torch.tensor([0.0, 3.0]))
    return network


def some(*shape: int) -> Tensor:
    return torch.randint(0, 256, shape, generator=torch.Generator().manual_seed(1))


@torch.no_grad()
def outputs(network: Any, tokens: Tensor, **others: Any) -> tuple[Tensor, Tensor]:
    found = network(input_ids=tokens, **others)
    return found.logits, found.used_segments


@pytest.mark.parametrize("window", [None, 1, 5, 31, 64])
@pytest.mark.parametrize("backend", ["sdpa", "manual"])
def test_changing_a_token_changes_no_earlier_logit_and_no_earlier_halting(
    backend: str, window: int | None
) -> None:
    network, tokens = build(backend, window), some(2, 40)
    changed = tokens.clone()
    changed[:, 17] = (changed[:, 17] + 1) % 256
    (before, used), (after, used_then) = outputs(network, tokens), outputs(network, changed)
    assert set(used.flatten().tolist()) == {1, 2, 3}
    assert torch.equal(before[:, :17], after[:, :17])
    assert torch.equal(used[:, :17], used_then[:, :17])
    assert not torch.equal(before[:, 17], after[:, 17])


@pytest.mark.parametrize("window", [None, 4])
def test_outputs_equal_the_paper_s_definition_for_each_position_alone(window: int | None) -> None:
    """Each position is computed as the last of its prefix, so it cannot depend on later positions."""
    network, tokens = build(window=window), some(12)
    weights = weights_of(network)
    logits, used = outputs(network, tokens[None])
    for t in range(len(tokens)):
        found = segments(weights, network.config, tokens[: t + 1], window)
        wishes = [bool(q_halt[t] > q_continue[t]) for _, q_halt, q_continue in found]
        number = wishes.index(True) + 1 if any(wishes[:-1]) else len(found)
        assert used[0, t] == number
        torch.testing.assert_close(logits[0, t].double(), found[number - 1][0][t], atol=2e-5, rtol=1e-4)


def test_the_gradient_of_a_segment_comes_from_its_last_runs_alone() -> None:
    network, tokens = build(l_cycles=3), some(7)
    weights = weights_of(network)
    carry = network.segment(tokens[None], Carry()).carry
    second = network.segment(tokens[None], carry)
    choice = torch.randn(32, generator=torch.Generator().manual_seed(2))
    (second.hidden @ choice).sum().backward()

    (*_, (logits, _, _), _) = segments(weights, network.config, tokens)
    hidden = torch.linalg.lstsq(
        weights["lm_head.weight"].detach(), logits.T
    ).solution.T  # the input of the output layer
    (hidden @ choice.double()).sum().backward()
    for name, parameter in network.model.named_parameters(prefix="model"):
        expected = weights[name].grad
        assert expected is not None
        torch.testing.assert_close(parameter.grad.double(), expected, atol=1e-4, rtol=1e-3, msg=name)
    assert not carry.z_h.requires_grad
    assert not carry.z_l.requires_grad


def test_no_gradient_flows_through_the_carry() -> None:
    network, tokens = build(), some(1, 5)
    z_h, z_l = (torch.randn(1, 5, 32, requires_grad=True) for _ in range(2))
    network.segment(tokens, Carry(z_h, z_l, 1)).hidden.sum().backward()
    assert z_h.grad is None
    assert z_l.grad is None


@pytest.mark.parametrize("backend", ["sdpa", "manual"])
def test_a_document_does_not_see_the_one_before(backend: str) -> None:
    network, tokens = build(backend, window=9), some(1, 40)
    ids = (torch.arange(40) >= 20).long()[None]
    changed = tokens.clone()
    changed[:, 12] = (changed[:, 12] + 1) % 256
    before, after = (outputs(network, rows, document_ids=ids)[0] for rows in (tokens, changed))
    assert torch.equal(before[:, 20:], after[:, 20:])
    assert not torch.equal(before[:, 12:20], after[:, 12:20])


@pytest.mark.parametrize("pos_encodings", ["rope", "learned"])
@pytest.mark.parametrize("window", [None, 4, (4, None, 7)])
@pytest.mark.parametrize("pieces", [[30], [7, 1, 1, 12, 9], [1] * 30])
def test_outputs_are_the_same_with_a_cache(pieces: list[int], window: Any, pos_encodings: str) -> None:
    network = build(window=window, pos_encodings=pos_encodings, max_position_embeddings=30).double()
    tokens, cache = some(2, 30), make_cache(network.config)
    expected, used = outputs(network, tokens)
    found = [
        outputs(network, piece, past_key_values=cache, use_cache=True)
        for piece in tokens.split(pieces, dim=1)
    ]
    torch.testing.assert_close(torch.cat([logits for logits, _ in found], 1), expected, atol=1e-9, rtol=0)
    assert torch.equal(torch.cat([each for _, each in found], 1), used)


def test_only_the_needed_segments_are_run() -> None:
    network, tokens = build(), some(1, 12)
    expected, used = outputs(network, tokens)
    runs: list[int] = []
    network.model.register_forward_hook(lambda *_: runs.append(1))
    for length in range(1, 13):
        runs.clear()
        logits, _ = outputs(network, tokens[:, :length], logits_to_keep=1)
        torch.testing.assert_close(logits[:, 0], expected[:, length - 1], atol=1e-5, rtol=1e-4)
        assert len(runs) == used[0, length - 1]


def test_transformers_generates_the_same_text_as_aios() -> None:
    network, prompt = build(window=6), [72, 101, 108, 108, 111]
    ours = list(generation.generate(network, prompt, Sampling(12, temperature=0), 256, 258, prefill=2))
    theirs = network.generate(torch.tensor([prompt]), max_new_tokens=12, do_sample=False, eos_token_id=256)
    assert theirs[0, 5:].tolist() == ours
    tokens = [*prompt]
    for _ in range(12):
        tokens.append(int(outputs(network, torch.tensor([tokens]))[0][0, -1].argmax()))
    assert tokens[5:] == ours


def test_padding_on_the_left_changes_no_text() -> None:
    network, prompt = build(), some(1, 6)
    padded = torch.cat([torch.full((1, 3), 257), prompt], 1)
    mask = (torch.arange(9) >= 3).long()[None]
    alone, _ = outputs(network, prompt)
    beside, _ = outputs(network, padded, attention_mask=mask)
    torch.testing.assert_close(beside[:, 3:], alone, atol=1e-5, rtol=1e-4)


def test_the_model_is_saved_and_loaded_by_transformers(tmp_path: Path) -> None:
    network = build(window=(3, None, 5))
    network.save_pretrained(tmp_path)
    config = models.read_config(tmp_path)
    assert isinstance(config, HRMConfig)
    assert config.aios_windows == [3, None, 5]
    loaded, notes = models.build(config, tmp_path, seed=5)
    assert notes == []
    state = network.state_dict()
    assert state.keys() == loaded.state_dict().keys()
    assert all(torch.equal(tensor, state[name]) for name, tensor in loaded.state_dict().items())
    assert torch.isfinite(loaded(input_ids=some(1, 4), labels=some(1, 4)).loss)


def test_an_untrained_model_predicts_uniformly_and_never_halts() -> None:
    config = HRMConfig(vocab_size=258, hidden_size=64, num_attention_heads=4)
    network: Any = models.build(config, None, seed=1)[0]
    tokens = some(8, 64)
    found = network(input_ids=tokens, labels=tokens)
    assert set(found.used_segments.flatten().tolist()) == {2}
    assert 5.4 < found.loss.item() < 6.3  # ln 258 is 5.55; logits have a variance of 1 at most
    assert network.model.z_h.square().mean().sqrt().item() == pytest.approx(1, abs=0.3)


def test_layers_cache_slots_and_widths_of_a_configuration() -> None:
    config = HRMConfig(l_layers=1, h_layers=2, l_cycles=2, h_cycles=2, halt_max_steps=2)
    assert config.num_hidden_layers == 3
    assert config.cache_layers == (0, 0, 1, 2) * 4
    assert (
        HRMConfig(hidden_size=512, expansion=2.0).intermediate_size == 704
    )  # 683 rounded up to a multiple of 64


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"hidden_size": 30, "num_heads": 4}, "heads"),
        ({"hidden_size": 12, "num_heads": 4}, "even"),
        ({"pos_encodings": "sinus"}, "rope"),
        ({"pos_encodings": "learned"}, "max_position_embeddings"),
        ({"halt_max_steps": 0}, "at least 1"),
        ({"halt_exploration_prob": 1.5}, "between 0 and 1"),
        ({"halt_steps": 2}, "halt_max_steps"),
    ],
)
def test_an_invalid_configuration_is_rejected(changes: dict[str, Any], word: str) -> None:
    with pytest.raises(UserError, match=word):
        models.make_config({"model_type": "hrm_act_v1", **changes}, ByteTokenizer())
