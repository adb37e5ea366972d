"""A few training steps for some types of model: each trains, or is refused in a sentence with status 2.

tests/trainer/models/test_architecture_table.py examines all types.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import Result

from trainer.models import trial

Settings = dict[str, dict[str, Any]]
WriteConfig = Callable[[Any], Path]
Call = Callable[..., Result]
Records = Callable[[Path], list[dict[str, Any]]]

COMMON: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
}
EXPERTS = {"num_experts": 4, "num_experts_per_tok": 2}
LATENT = {
    "q_lora_rank": None,
    "kv_lora_rank": 16,
    "qk_rope_head_dim": 4,
    "qk_nope_head_dim": 8,
    "v_head_dim": 8,
}
ROUTED = {"n_routed_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16, "n_shared_experts": 1}
ROUTED |= {"n_group": 1, "topk_group": 1, "num_key_value_heads": 4}
GEMMA4 = {
    "num_hidden_layers": 4,
    "head_dim": 8,
    "global_head_dim": 16,
    "hidden_size_per_layer_input": 8,
    "vocab_size_per_layer_input": 258,
    "num_kv_shared_layers": 2,
    "layer_types": ["sliding_attention", "full_attention"] * 2,
    "sliding_window": 8,
    "use_bidirectional_attention": None,
}
FAST: dict[str, dict[str, Any]] = {
    "llama": {},
    "nemotron": {},
    "mixtral": {"num_local_experts": 4, "num_experts_per_tok": 2, "output_router_logits": True},
    "qwen3_moe": EXPERTS,
    "deepseek_v2": LATENT | ROUTED | {"first_k_dense_replace": 1},
    "gemma4_text": GEMMA4,
}


def train(
    settings: Settings,
    write_config: WriteConfig,
    call: Call,
    kind: str,
    values: dict[str, Any],
    *arguments: str,
) -> Result:
    shape = {"model_type": kind} | COMMON | values
    settings["model"]["architecture"] = {key: value for key, value in shape.items() if value is not None}
    settings["data"]["eval_fraction"] = 0
    settings["training"]["steps"] = 2
    return call("train", "--config", write_config(settings), *arguments)


def check(result: Result, records: Records, folder: Path) -> None:
    assert result.exit_code == 0, result.output
    steps = [record for record in records(folder / "metrics.jsonl") if record["event"] == "train"]
    assert [step["loss"] > 0 for step in steps] == [True, True]
    assert "cannot be estimated" not in result.stderr


@pytest.mark.parametrize("kind", FAST)
def test_it_trains(
    settings: Settings, write_config: WriteConfig, call: Call, records: Records, tmp_path: Path, kind: str
) -> None:
    check(train(settings, write_config, call, kind, FAST[kind]), records, tmp_path / "out")


def test_a_model_that_splits_by_its_data_trains_without_an_estimate(
    settings: Settings, write_config: WriteConfig, call: Call, records: Records, tmp_path: Path, caplog: Any
) -> None:
    """JetMoE splits tokens by the number for each expert. Fake tensors have no such numbers, so it was refused."""
    values = {"kv_channels": 8, "num_local_experts": 4, "num_experts_per_tok": 2, "num_attention_heads": None}
    result = train(settings, write_config, call, "jetmoe", values)
    assert result.exit_code == 0, result.output
    assert "cannot be estimated" in result.stderr
    assert [record["loss"] > 0 for record in records(tmp_path / "out" / "metrics.jsonl") if "loss" in record]
    assert not caplog.records


@pytest.mark.parametrize(
    ("kind", "values", "words"),
    [
        ("gpt_oss", {"num_local_experts": 4, "num_experts_per_tok": 2}, "learned attention sinks"),
        ("mamba", {}, "layers of the type linear_attention"),
        ("rwkv", {}, "computes attention itself"),
        ("bert", {}, "attends in both directions"),
        ("falcon", {}, "computes attention itself"),
        ("phimoe", {"sliding_window": 32, "num_local_experts": 4}, "remove the setting"),
    ],
)
def test_it_is_refused_before_data_is_read(
    settings: Settings,
    write_config: WriteConfig,
    call: Call,
    kind: str,
    values: dict[str, Any],
    words: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    common = {} if kind in ("mamba", "rwkv", "falcon") else COMMON | values
    if kind == "bert":
        del common["num_key_value_heads"]
    monkeypatch.setattr("tests.trainer.models.test_model_types.COMMON", {})
    monkeypatch.setattr("trainer.data.load", lambda *arguments: pytest.fail("the data was read"))
    result = train(settings, write_config, call, kind, common)
    assert result.exit_code == 2, result.output
    message = " ".join(result.stderr.split())
    assert words in message
    assert kind in message
    assert trial.CHOOSE in message
