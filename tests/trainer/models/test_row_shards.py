"""A model that is built in parts has the weights of one that is built as a whole, row by row."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM

from trainer.hrm import model as _  # noqa: F401 - registers the model type
from trainer.models import row_shards, sharded_model
from trainer.models.row_shards import ReadsWeightsError, RowShards

SPECIAL = {"vocab_size": 258, "bos_token_id": 256, "eos_token_id": 256, "pad_token_id": 257}
LLAMA = {
    "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "hidden_size": 32,
    "intermediate_size": 64, "max_position_embeddings": 64,
}  # fmt: skip
SMALL: dict[str, dict[str, Any]] = {
    "gpt2": {"n_layer": 2, "n_head": 2, "n_embd": 32, "n_positions": 64},
    "llama": LLAMA,
    "mixtral": LLAMA | {"num_local_experts": 3},
    "gemma2": LLAMA | {"head_dim": 8},
    "hrm_act_v1": {
        "hidden_size": 32,
        "num_attention_heads": 2,
        "h_layers": 1,
        "l_layers": 1,
        "halt_max_steps": 3,
    },
}
CausalLM: Any = AutoModelForCausalLM


@pytest.fixture(autouse=True)
def nothing_is_small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(row_shards, "SMALL", 1)


@pytest.mark.parametrize("kind", SMALL)
def test_each_process_draws_the_weights_of_a_whole_model(kind: str) -> None:
    config = AutoConfig.for_model(kind, **{**SPECIAL, **SMALL[kind]})
    torch.manual_seed(5)
    whole = CausalLM.from_config(config, dtype=torch.float32)
    after = torch.get_rng_state()
    for rank in range(3):
        built = sharded_model.build(config, None, 5, rank, 3)
        assert torch.equal(torch.get_rng_state(), after), "the same random numbers were drawn"
        parameters = [*built.network.parameters()]
        released = [p for p in parameters if p.untyped_storage().nbytes() == 0]
        assert sum(p.numel() for p in released) > 0.9 * sum(p.numel() for p in parameters)
        built.rows.restore(parameters)
        for (name, expected), found in zip(whole.named_parameters(), parameters, strict=True):
            rows = built.rows.rows(expected)
            assert torch.equal(found[rows], expected[rows]), name
        buffers = zip(whole.named_buffers(), built.network.named_buffers(), strict=True)
        assert all(name == other and torch.equal(a, b) for (name, a), (other, b) in buffers)


def test_rows_are_split_as_torch_splits_them() -> None:
    for size in (1, 2, 5, 6, 7, 64):
        tensor = torch.arange(size)
        for count in (1, 2, 3, 4, 7):
            parts = [tensor[RowShards(rank, count, True).rows(tensor)] for rank in range(count)]
            chunks = [*torch.chunk(tensor, count), *[tensor[:0]] * count][:count]
            assert all(torch.equal(a, b) for a, b in zip(parts, chunks, strict=True))


def test_a_model_that_computes_with_its_weights_is_not_built_in_parts() -> None:
    class Normalized(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.Linear(8, 8)
            self.outer = nn.Linear(8, 8)
            self.scale = self.inner.weight.detach().norm()

    with pytest.raises(ReadsWeightsError, match="norm"), RowShards(0, 2, True).building():
        Normalized()
