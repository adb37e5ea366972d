"""The plan of a run: its estimates against a whole step's, what it recommends, and the longest context."""

from __future__ import annotations

import itertools
import json
import re
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoConfig
from typer.testing import Result

from trainer import capability
from trainer.config import TrainConfig
from trainer.planning import plan as planning
from trainer.planning import planned_attention, step
from trainer.planning.changes import CHANGES, CHUNKS, METHODS, with_keys
from trainer.planning.plan import longest_context, make_plan
from trainer.planning.planned_device import lends_host_memory
from trainer.planning.step import StepMemory
from trainer.survival.memory_estimate import MemoryEstimate

Call = Callable[..., Result]
GPU = torch.device("cuda")
SIZES: dict[str, Any] = {
    "hidden_size": 128,
    "intermediate_size": 352,
    "num_hidden_layers": 6,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 32,
    "vocab_size": 3000,
    "max_position_embeddings": 4096,
    "bos_token_id": 0,
    "eos_token_id": 0,
}

COMPARED = {
    ("llama", "full", True),
    ("gemma2", "lora", False),
    ("qwen3", "qlora", True),
}  # in each run of the tests


def model(kind: str, **changes: Any) -> Any:
    return AutoConfig.for_model(kind, **SIZES | changes)


def settings(**model_keys: Any) -> TrainConfig:
    return TrainConfig.model_validate(
        {
            "model": {"name": "x/y", **model_keys},
            "data": {"max_length": 512},
            "training": {"batch_size": 2, "amp": True},
        }
    )


@pytest.mark.parametrize(
    ("kind", "method", "checkpointed"),
    [
        pytest.param(*case, marks=[] if case in COMPARED else pytest.mark.long)
        for case in itertools.product(("llama", "qwen3", "gemma2"), METHODS, (False, True))
    ],
)
def test_a_step_continued_from_two_layers_equals_a_whole_one(
    kind: str, method: str, checkpointed: bool
) -> None:
    config = with_keys(settings(gradient_checkpointing=checkpointed), METHODS[method])
    scaled, whole = (StepMemory(model(kind), GPU) for _ in range(2))
    assert scaled.uniform
    whole.__dict__["uniform"] = False
    found, expected = scaled(config), whole(config)
    assert (found.weights, found.gradients, found.state) == (
        expected.weights,
        expected.gradients,
        expected.state,
    )
    assert found.total == pytest.approx(expected.total, rel=0.02)


def test_a_model_whose_layers_differ_is_computed_whole() -> None:
    experts = {"num_local_experts": 4, "first_k_dense_replace": 3, "n_routed_experts": 4, "q_lora_rank": None}
    mixed = AutoConfig.for_model(
        "deepseek_v3", **SIZES | experts | {"moe_intermediate_size": 32, "num_key_value_heads": 4}
    )
    assert not StepMemory(mixed, GPU).uniform


def test_four_bit_weights_need_the_bytes_of_nf4_with_double_quantization() -> None:
    """4 bits a weight, 8 a scale of 64 weights, 32 a scale of 256 scales: 4.127 bits."""
    found = StepMemory(model("llama"), GPU)(settings(use_peft=True, load_in_4bit=True))
    linear = 6 * (128 * 128 * 2 + 2 * 128 * 64 + 3 * 128 * 352)
    adapter = 6 * 16 * (4 * 128 + 2 * (128 + 64) + 3 * (128 + 352))
    other = 2 * 3000 * 128 + (2 * 6 + 1) * 128
    rotary = 2 * 4 * 16  # two buffers of frequencies
    by_hand = linear * (4 + 8 / 64 + 32 / 64 / 256) / 8 + 4 * adapter + 2 * other + rotary
    assert found.weights == pytest.approx(by_hand, rel=0.01)
    assert found.gradients == 4 * adapter
    assert found.state == 8 * adapter


def test_the_state_of_a_paged_optimizer_need_not_be_on_the_gpu() -> None:
    def state(optimizer: str, device: str) -> int:
        config = with_keys(settings(use_peft=True), {"training": {"optimizer": optimizer}})
        return StepMemory(model("llama"), torch.device(device))(config).state

    assert state("paged_adamw_8bit", "cuda") == 0
    assert state("paged_adamw_8bit", "cpu") == state("adamw_8bit", "cuda") > 0


class Linear:
    """Stands in for StepMemory: 1000 bytes, and 10 for each token."""

    device = GPU

    def __init__(self, positions: int = 1 << 30) -> None:
        self.model_config = AutoConfig.for_model("llama", max_position_embeddings=positions)
        self.calls = 0

    def __call__(self, config: TrainConfig, length: int | None = None) -> MemoryEstimate:
        self.calls += 1
        tokens = config.training.batch_size * (length or config.data.max_length)
        return MemoryEstimate(weights=1000, gradients=0, state=0, activations=10 * tokens)


@pytest.mark.parametrize(
    ("size", "positions", "tokens", "limited_by"),
    [
        (1000 + 10 * 5000, 1 << 30, 4864, "memory"),
        (1000 + 10 * 100, 1 << 30, 0, "memory"),
        (1000 + 10 * 5000, 700, 700, "positions"),
        (1 << 40, 1 << 30, planning.LONGEST, "positions"),
        (1000 + 10 * 99_999, 1 << 30, 99_840, "memory"),
    ],
)
def test_the_longest_context_is_the_last_that_fits(
    size: int, positions: int, tokens: int, limited_by: str
) -> None:
    memory: Any = Linear(positions)
    found = longest_context(settings(), memory, size)
    assert found is not None
    assert (found.tokens, found.limited_by) == (tokens, limited_by)
    assert memory.calls <= planning.ROUNDS


class Counted(Linear):
    """Stands in for StepMemory: 1000 weights by their bytes, and 10 or 1000 bytes for each token."""

    def __call__(self, config: TrainConfig, length: int | None = None) -> MemoryEstimate:
        trained = 10 if config.model.use_peft else 1000
        frozen = 1000 * (0.5 if config.model.load_in_4bit else 2) if config.model.use_peft else 0
        tokens = config.training.batch_size * (length or config.data.max_length)
        return MemoryEstimate(
            weights=int(frozen) + 4 * trained,
            gradients=4 * trained,
            state=(2 if "8bit" in config.training.optimizer else 8) * trained,
            activations=tokens * (10 if config.model.gradient_checkpointing else 1000),
        )


def test_changes_add_up_in_the_order_of_their_harm_and_the_first_that_fits_is_recommended() -> None:
    counted: Any = Counted()
    made = make_plan(settings(), counted, {}, "a GPU", 1 << 40)
    assert made.recommended is made.settings[0]
    skipped = {
        "16-bit computation",  # it has that already
        *("exact chunks", "smaller chunks"),  # its sequences are short
        "fewer stored carries",  # of chunks, and on a CPU
    }
    names = [change.name for change in CHANGES if change.name not in skipped]
    assert [setting.changes for setting in made.settings] == [tuple(names[:n]) for n in range(len(names) + 1)]
    totals = [setting.memory.total for setting in made.settings]
    assert totals == sorted(totals, reverse=True)
    between = (totals[1] + totals[2]) // 2
    less = make_plan(settings(), counted, {}, "a GPU", between).recommended
    assert less is not None
    assert less.options == (
        "--gradient-checkpointing",
        "--batch-size 1",
        "--gradient-accumulation-steps 2",
    )


class InChunks(Linear):
    """Stands in for StepMemory: 1000 bytes a token, in chunks 1000 a token of a chunk and 100 for each token."""

    def __call__(self, config: TrainConfig, length: int | None = None) -> MemoryEstimate:
        self.calls += 1
        training, tokens = config.training, length or config.data.max_length
        if not training.use_chunked_training:
            return MemoryEstimate(1000, 0, 0, 1000 * tokens)
        carry = 0 if training.cpu_offload else 100 * tokens // (4 if training.recompute_carries else 1)
        in_chunk = 1000 * min(tokens, training.chunk_tokens)
        return MemoryEstimate(1000, 0, 0, in_chunk, carry=carry, host=100 * tokens - carry)


def long_sequences(**training: Any) -> TrainConfig:
    values = {"batch_size": 1, "amp": True, **training}
    return TrainConfig.model_validate(
        {"model": {"name": "x/y"}, "data": {"max_length": 8192}, "training": values}
    )


def test_exact_chunks_are_the_first_change_for_long_sequences() -> None:
    memory: Any = InChunks()
    made = make_plan(long_sequences(), memory, {}, "a GPU", 1 << 20)
    assert made.settings[1].changes == ("exact chunks",)
    assert made.settings[1].options == ("--use-chunked-training", "--chunk-gradients exact")
    assert not any("window" in option for setting in made.settings for option in setting.options)
    offloaded = next(each for each in made.settings if each.changes[-1:] == ("offload to host memory",))
    assert {"--cpu-offload", "--offload-activations"} <= {*offloaded.options}
    assert (offloaded.memory.carry, offloaded.memory.host) == (0, 819_200)
    smaller = next(each for each in made.settings if each.changes[-1:] == ("smaller chunks",))
    assert "--chunk-size 512" in smaller.options
    document = made.to_json()
    assert document["settings"][1]["memory"]["carry"] == 819_200
    assert document["settings"][1]["memory"]["total"] == 1000 + 2_048_000 + 819_200
    on_cpu = InChunks()
    on_cpu.device = torch.device("cpu")
    names = [setting.changes[-1] for setting in make_plan(long_sequences(), on_cpu, {}, "", 1).settings[1:]]  # type: ignore[arg-type]
    assert "fewer stored carries" in names and "offload to host memory" not in names


def test_chunks_that_the_positions_do_not_allow_are_not_planned() -> None:
    rope = {
        "rope_type": "longrope",
        "rope_theta": 1e4,
        "factor": 4.0,
        "original_max_position_embeddings": 512,
    }
    rope |= {"short_factor": [1.0] * 16, "long_factor": [2.0] * 16}
    memory: Any = InChunks()
    memory.model_config = model("llama", rope_parameters=rope, max_position_embeddings=8192)
    made = make_plan(long_sequences(), memory, {}, "a GPU", 1 << 40)
    assert not any("chunk" in option for setting in made.settings for option in setting.options)
    assert not any(name.endswith(CHUNKS) for name in made.longest)


def test_a_preference_loss_is_not_planned_in_chunks() -> None:
    memory: Any = InChunks()
    made = make_plan(long_sequences(loss="orpo"), memory, {}, "a GPU", 1 << 40)
    assert not any("chunk" in option for setting in made.settings for option in setting.options)
    assert not any(name.endswith(CHUNKS) for name in made.longest)


def test_chunks_that_cannot_be_computed_are_not_planned() -> None:
    class Fails(InChunks):
        def __call__(self, config: TrainConfig, length: int | None = None) -> MemoryEstimate:
            found = super().__call__(config, length)
            return MemoryEstimate(1000, 0, 0, None) if config.training.use_chunked_training else found

    memory: Any = Fails()
    made = make_plan(long_sequences(), memory, {}, "a GPU", 1 << 40)
    assert all(setting.memory.activations is not None for setting in made.settings)


def test_a_change_that_needs_more_memory_is_left_out() -> None:
    class Growing(InChunks):
        def __call__(self, config: TrainConfig, length: int | None = None) -> MemoryEstimate:
            found = super().__call__(config, length)
            return replace(found, carry=10**7) if config.training.chunk_size == 512 else found

    memory: Any = Growing()
    made = make_plan(long_sequences(), memory, {}, "a GPU", 1 << 40)
    assert any("exact chunks" in setting.changes for setting in made.settings)
    assert not any("smaller chunks" in setting.changes for setting in made.settings)


def test_the_longest_context_in_chunks() -> None:
    memory: Any = InChunks()
    size = 1000 + 1000 * 2048 + 10_000_000
    longest = make_plan(long_sequences(), memory, {}, "a GPU", size).longest
    assert longest["full"].tokens == 12_032  # (size - 1000) / 1000, in steps of 256
    assert longest["full_chunks"].tokens == planning.LONGEST, "the carry is on the host"
    memory.device = torch.device("cpu")
    size = 1000 + 1000 * 2048 + 1_000_000
    longest = make_plan(long_sequences(), memory, {}, "", size).longest
    assert longest["full_chunks"].tokens == 39_936  # a quarter of the carries is kept
    assert longest["full"].tokens == 3_072 - 256


def test_a_plan_for_windows_says_what_the_driver_does(
    call: Call, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(step, "StepMemory", lambda config, device: Counted(4096))
    for platform, said in (("linux", False), ("win32", True)):
        with monkeypatch.context() as patch:
            patch.setattr(sys, "platform", platform)
            lends = lends_host_memory(GPU)
            assert not lends_host_memory(torch.device("cpu"))
        monkeypatch.setattr(planning, "lends_host_memory", lambda device, lends=lends: lends)
        result = call("plan", "--model", file, "--vram", 12)
        assert ("shared GPU memory" in result.stdout) == said
        document = json.loads(call("plan", "--model", file, "--vram", 12, "--json").stdout)
        assert document["device"]["lends_host_memory"] == said


@pytest.mark.parametrize("options", [[], ["--window-size", "8"], ["--no-use-flash-attention"]])
def test_a_plan_names_the_attention_that_a_dry_run_names(
    call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: list[str]
) -> None:
    monkeypatch.setattr(planned_attention, "_proven", lambda: None)
    monkeypatch.setattr(capability, "load", lambda path, **rest: None)
    text = tmp_path / "text.txt"
    text.write_text("a short text.\n<|endoftext|>\n" * 500, encoding="utf-8")
    config = tmp_path / "config.yaml"
    config.write_text(
        "model: {architecture: {model_type: gpt2, n_layer: 1, n_head: 2, n_embd: 16}, tokenizer: byte}\n"
        "data: {max_length: 32}\ntraining: {device: cpu}\n",
        encoding="utf-8",
    )
    own = ["--config", config, "--dataset-file", text, *options]
    planned = json.loads(call("plan", *own, "--json").stdout)["attention"]
    tried = call("train", *own, "--dry-run", "--output-dir", tmp_path / "run").output
    assert f"Attention backend: {planned['label']}" in " ".join(tried.split())
    assert [each["backend"] for each in planned["rejections"]] == re.findall(
        r"(?:INFO|WARNING): (\w+) (?:not used|requested but)", tried
    )
    assert json.loads(call("plan", *own, "--vram", 12, "--json").stdout)["attention"] is None


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "a model ß.json"
    path.write_text(json.dumps(model("llama", num_hidden_layers=2).to_dict()), encoding="utf-8")
    return path


def test_fits_and_plan_answer_for_a_configuration_without_weights(
    call: Call, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = call("fits", file, "--vram", 12, "--json")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert (found["model"]["layers"], found["model"]["vocabulary"]) == (2, 3000)
    linear, norms = 2 * (2 * 128 * 128 + 2 * 128 * 64 + 3 * 128 * 352), (2 * 2 + 1) * 128
    assert found["model"]["parameters"] == linear + norms + 2 * 3000 * 128
    shared = sys.platform == "win32"
    assert found["device"] == {"name": "a GPU with 12 GiB", "bytes": 12 << 30, "lends_host_memory": shared}
    assert found["recommended"] == 0
    assert {name: each["tokens"] for name, each in found["longest_context"].items()} == dict.fromkeys(
        [f"{method}{kind}" for method in METHODS for kind in ("", "_offload", "_chunks")], 4096
    )
    memory = found["settings"][0]["memory"]
    parts = ("weights", "gradients", "optimizer", "activations", "logits", "carry")
    assert memory["total"] == sum(memory[part] for part in parts)
    monkeypatch.setattr(step, "StepMemory", lambda config, device: Counted(4096))
    table = call("plan", "--model", file, "--vram", 12, "--amp", "--batch-size", 8)
    assert table.exit_code == 0, table.output
    assert "+ QLoRA" in table.stdout
    assert "qlora, layer inputs in host memory  4,096 tokens" in table.stdout
    assert "Fits as configured." in table.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["fits", "no/such-model"], "no/such-model"),
        (["plan"], "Set either model.name"),
        (["plan", "--model", "a", "--name", "b"], "name different models"),
        (["fits", "README.md"], "is not a model configuration"),
        (["plan", "--model", "x", "--vram", "0"], "greater than or equal to 0.1"),
    ],
)
def test_wrong_input_is_refused_in_a_sentence(
    call: Call, monkeypatch: pytest.MonkeyPatch, arguments: list[str], words: str
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    result = call(*arguments)
    assert result.exit_code == 2
    assert words in " ".join(result.stderr.split())
