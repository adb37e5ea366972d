"""Model FLOPs utilization: compared with counts by hand, torch's own counter, and the GPUs' data sheets."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import AutoConfig, AutoModelForCausalLM
from typer.testing import Result

from trainer import mfu, preparation
from trainer.device import Precision
from trainer.mfu import Peak, multiplied_weights, peak, training_flops, utilization

SIZES: dict[str, dict[str, Any]] = {
    "gpt2": {"n_layer": 3, "n_head": 4, "n_embd": 32, "n_positions": 64, "vocab_size": 61},
    "llama": {"num_hidden_layers": 3, "hidden_size": 32, "intermediate_size": 48, "vocab_size": 61}
    | {"num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 64},
    "qwen3": {"num_hidden_layers": 3, "hidden_size": 32, "intermediate_size": 48, "vocab_size": 61}
    | {"num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16, "tie_word_embeddings": True},
}
SPECIAL = {"bos_token_id": 0, "eos_token_id": 0, "pad_token_id": None}


def model(kind: str, **changes: Any) -> Any:
    config = AutoConfig.for_model(kind, **SIZES[kind], **SPECIAL, **changes)
    return AutoModelForCausalLM.from_config(config, attn_implementation="eager")


def test_gpt2_by_hand() -> None:
    config = AutoConfig.for_model("gpt2")  # 124M
    with torch.device("meta"):
        network = AutoModelForCausalLM.from_config(config)
    # A layer: 768 * (3 * 768) for q, k and v, 768 * 768 behind the attention, 2 * 768 * 3072; and the head, once.
    weights = 12 * 7_077_888 + 50257 * 768
    assert multiplied_weights(network) == weights == 123_532_032
    assert sum(p.numel() for p in network.parameters()) == 124_439_808
    # 6 * 123,532,032 = 741,192,192; 12 layers * 12 * 768 * 1024 = 113,246,208.
    assert training_flops(weights, 768, (None,) * 12, 1024) == 854_438_400
    # With 256 in three layers of four: 12 * 768 * (9 * 256 + 3 * 1024) = 49,545,216.
    windows = (256, 256, 256, None) * 3
    assert training_flops(weights, 768, windows, 1024) == 790_737_408
    assert training_flops(weights, 768, windows, 200) == 6 * weights + 12 * 12 * 768 * 200
    # 150,000 tokens a second on an A100 in bfloat16: 854,438,400 * 150,000 / 312e12.
    known = utilization(network, 768, (None,) * 12, 1024, peak("NVIDIA A100-SXM4-80GB", "bfloat16"))
    assert known.mfu(150_000) == pytest.approx(0.41079, abs=1e-5)


@pytest.mark.parametrize("kind", SIZES)
def test_flops_agree_with_the_counter_of_torch(kind: str) -> None:
    network, length = model(kind), 40
    tokens = torch.randint(0, 61, (2, length))
    with FlopCounterMode(display=False) as counter:
        network(input_ids=tokens, labels=tokens, use_cache=False).loss.backward()
    text = network.config.get_text_config()
    width = text.num_attention_heads * (getattr(text, "head_dim", None) or 8)
    ours = training_flops(multiplied_weights(network), width, (None,) * 3, length)
    # Rotary frequencies are a product, too: 2 * 8 / 2 * 1 a token at most.
    assert counter.get_total_flops() / tokens.numel() == pytest.approx(ours, abs=20)


def test_tied_tables_count_once_and_positions_never() -> None:
    tied, untied = model("gpt2"), model("gpt2", tie_word_embeddings=False)
    assert multiplied_weights(tied) == multiplied_weights(untied)
    assert sum(p.numel() for p in untied.parameters()) - sum(p.numel() for p in tied.parameters()) == 61 * 32


# Multiprocessors, boost clock in MHz, and dense FLOPs per multiprocessor and clock: of 16-bit products, tf32, float32.
CHIPS = {
    "NVIDIA H100 80GB HBM3": (132, 1830, 4096, 2048, None),
    "NVIDIA H200": (132, 1830, 4096, 2048, None),
    "NVIDIA A100-SXM4-40GB": (108, 1410, 2048, 1024, 128),
    "NVIDIA A100 80GB PCIe": (108, 1410, 2048, 1024, 128),
    "Tesla V100-SXM2-32GB": (80, 1530, 1024, None, 128),
    "Tesla T4": (40, 1590, 1024, None, 128),
    "NVIDIA L4": (58, 2040, 1024, 512, 256),
    "NVIDIA RTX A6000": (84, 1800, 1024, 512, 256),
    "NVIDIA GeForce RTX 3090": (82, 1695, 512, 256, 256),
    "NVIDIA GeForce RTX 3090 Ti": (84, 1860, 512, 256, 256),
    "NVIDIA GeForce RTX 4080": (76, 2505, 512, 256, 256),
    "NVIDIA GeForce RTX 4090": (128, 2520, 512, 256, 256),
    "NVIDIA GeForce RTX 5080": (84, 2617, 512, 256, 256),
    "NVIDIA GeForce RTX 5090": (170, 2407, 512, 256, 256),
}


@pytest.mark.parametrize("gpu", CHIPS)
def test_peaks_equal_clock_times_operations_per_cycle(gpu: str) -> None:
    processors, clock, *rates = CHIPS[gpu]
    for arithmetic, rate in zip(("float16", "tf32", "float32"), rates, strict=True):
        if rate is not None:
            assert peak(gpu, arithmetic).flops == pytest.approx(processors * clock * 1e6 * rate, rel=0.01)


def test_every_peak_has_a_source_and_no_name_has_two() -> None:
    rows = json.loads(mfu.PEAKS.read_text(encoding="utf-8"))["gpus"]
    for row in rows:
        assert row["source"].startswith("https://")
        assert row["bfloat16"] in (None, row["float16"])
        assert row["float16"] >= 2 * (row["tf32"] or row["float32"]) * 0.98
    for gpu in CHIPS:
        assert sum(bool(re.fullmatch(row["name"], gpu)) for row in rows) == 1


@pytest.mark.parametrize(
    ("gpu", "arithmetic", "reason"),
    [
        (None, "float32", "no peak is published for CPUs"),
        (
            "NVIDIA GeForce RTX 4090 Laptop GPU",
            "bfloat16",
            "the peak of NVIDIA GeForce RTX 4090 Laptop GPU is not",
        ),
        ("NVIDIA GeForce RTX 4090 D", "bfloat16", "is not known"),
        ("NVIDIA A100-SXM4-80GB MIG 1g.10gb", "bfloat16", "is not known"),
        ("Tesla T4", "bfloat16", "no peak for bfloat16 is published for Tesla T4"),
    ],
)
def test_without_a_peak_there_is_a_reason_instead_of_an_mfu(
    gpu: str | None, arithmetic: str, reason: str
) -> None:
    known = utilization(model("gpt2"), 32, (None,) * 3, 64, peak(gpu, arithmetic))
    assert known.mfu(1000) is None
    assert reason in (known.reason or "")
    assert known.to_json()["reason"] == known.reason
    assert known.to_json()["flops_per_token"] > 0


def test_a_mixture_of_experts_has_no_mfu() -> None:
    sizes = SIZES["llama"] | {"num_local_experts": 4, "num_experts_per_tok": 2}
    network = AutoModelForCausalLM.from_config(AutoConfig.for_model("mixtral", **sizes, **SPECIAL))
    known = utilization(network, 32, (None,) * 3, 64, Peak(1e12, "https://x"))
    assert known.mfu(1000) is None
    assert "experts" in (known.reason or "")


def test_the_peak_of_float32_is_that_of_tf32_if_torch_may_use_it() -> None:
    before = torch.get_float32_matmul_precision()
    try:
        assert Precision(torch.float32).arithmetic == "float32"
        torch.set_float32_matmul_precision("high")
        assert Precision(torch.float32).arithmetic == "tf32"
        assert Precision(torch.bfloat16).arithmetic == "bfloat16"
    finally:
        torch.set_float32_matmul_precision(before)


@pytest.fixture
def trained(
    settings: Any,
    write_config: Callable[[Any], Path],
    call: Callable[..., Result],
    records: Any,
    tmp_path: Path,
) -> Callable[[], tuple[Result, list[dict[str, Any]]]]:
    def train() -> tuple[Result, list[dict[str, Any]]]:
        result = call("train", "--config", write_config(settings), "--window-size", 8)
        assert result.exit_code == 0, result.output
        return result, records(tmp_path / "out" / "metrics.jsonl")

    return train


def test_a_run_on_a_cpu_says_why_it_has_no_mfu(trained: Any) -> None:
    result, log = trained()
    assert log[0]["utilization"]["reason"] == "no peak is published for CPUs"
    assert log[0]["utilization"]["flops_per_token"] == 6 * (2 * 12 * 32**2 + 258 * 32) + 12 * 32 * 2 * 8
    assert (log[-1]["event"], log[-1]["mfu"]) == ("run_end", None)
    assert "tokens/s (no MFU: no peak is published for CPUs)" in result.stdout


def test_a_run_on_a_known_gpu_reports_its_mfu(trained: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preparation, "gpu_name", lambda _: "NVIDIA GeForce RTX 4090")
    result, log = trained()
    cost = log[0]["utilization"]
    assert cost["peak_flops"] == 82.6e12
    for record in (record for record in log if record["event"] in ("train", "run_end")):
        expected = record["tokens_per_second"] * cost["flops_per_token"] / 82.6e12
        assert record["mfu"] == pytest.approx(expected)
    assert "tokens/s (MFU 0." in result.stdout
