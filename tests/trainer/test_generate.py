"""`aios generate`: the cache does not change the text, the text is complete, and errors are explained."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM
from typer.testing import Result

from tests.trainer.attention.tiny_models import cache_bytes
from trainer.attention import huggingface
from trainer.attention.kv_cache import make_cache
from trainer.attention.pattern import trained_windows
from trainer.generate import load
from trainer.models import generation
from trainer.models.sampling import Sampling, choose
from trainer.models.tokenizer import ByteTokenizer

ROOT = Path(__file__).parents[2]
END, VOCABULARY = 256, 258
Call = Callable[..., Result]
Settings = dict[str, dict[str, Any]]


def model(kind: str, window: Any = None, positions: int = 48) -> Any:
    sizes: dict[str, dict[str, Any]] = {
        "gpt2": {"n_layer": 2, "n_head": 2, "n_embd": 32, "n_positions": positions},
        "llama": {
            "num_hidden_layers": 2,
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_attention_heads": 4,
        }
        | {"num_key_value_heads": 2, "max_position_embeddings": positions},
    }
    special = {"vocab_size": VOCABULARY, "bos_token_id": END, "eos_token_id": END}
    config = AutoConfig.for_model(kind, **sizes[kind], **special, initializer_range=0.3)
    huggingface.attach(config, backend="sdpa", window=window)
    torch.manual_seed(3)
    return AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval()


def sample(network: Any, prompt: bytes, **sampling: Any) -> list[int]:
    return list(generation.generate(network, list(prompt), Sampling(**sampling), END, VOCABULARY))


@pytest.mark.parametrize("window", [None, 1, 5])
@pytest.mark.parametrize("kind", ["gpt2", "llama"])
def test_the_tokens_are_the_same_with_and_without_the_cache(kind: str, window: int | None) -> None:
    network = model(kind, window)
    tokens = list(b"once upon")
    expected: list[int] = []
    with torch.no_grad():
        for _ in range(30):
            logits = network(input_ids=torch.tensor([tokens + expected]), use_cache=False).logits[0, -1]
            expected.append(int(logits.argmax()))
    assert END not in expected
    assert sample(network, b"once upon", max_new_tokens=30, temperature=0) == expected


@pytest.mark.parametrize("prefill", [1, 7, 8, 9, 100])
@pytest.mark.parametrize("window", [8, (8, None), (3, 8)])
@pytest.mark.parametrize("kind", ["gpt2", "llama"])
def test_ten_windows_of_text_are_the_same_without_a_cache(kind: str, window: Any, prefill: int) -> None:
    network, prompt = model(kind, window, positions=128), list(b"it is a truth universally ack")
    sampling = Sampling(max_new_tokens=80, temperature=0)
    new = list(generation.generate(network, prompt, sampling, END, vocab_size=END, prefill=prefill))
    with torch.no_grad():
        logits = network(input_ids=torch.tensor([prompt + new]), use_cache=False).logits[0, :, :END]
    assert new == logits.argmax(-1)[len(prompt) - 1 : -1].tolist()
    assert len(new) == 80


@pytest.mark.parametrize("kind", ["gpt2", "llama"])
def test_only_the_last_token_of_a_prompt_has_its_logits_computed(kind: str) -> None:
    network, rows = model(kind, positions=64), []
    network.get_output_embeddings().register_forward_hook(
        lambda _, inputs, __: rows.append(inputs[0].shape[1])
    )
    list(
        generation.generate(network, list(range(40)), Sampling(2, temperature=0), -1, VOCABULARY, prefill=16)
    )
    assert rows == [1, 1, 1, 1]  # three parts of the prompt, and one token


@pytest.mark.parametrize("kind", ["gpt2", "llama"])
def test_the_size_of_the_cache_does_not_depend_on_the_text(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    network, sizes, caches = model(kind, 8, positions=256), set(), []

    def make(config: Any) -> Any:
        caches.append(make_cache(config))
        return caches[-1]

    monkeypatch.setattr(generation, "make_cache", make)
    for _ in generation.generate(network, list(b"it was"), Sampling(200, temperature=0), END, vocab_size=END):
        sizes.add(cache_bytes(caches[-1]))
    heads = {"gpt2": 2, "llama": 2}[kind]
    width = {"gpt2": 16, "llama": 8}[kind]
    assert sizes == {2 * 2 * heads * width * 15 * 4}  # layers, keys and values, slots, float32
    assert len(caches) == 1


def test_generation_continues_past_the_positions_of_the_model() -> None:
    assert len(sample(model("gpt2"), b"x" * 100, max_new_tokens=130, temperature=0)) == 130


def test_the_seed_determines_the_text() -> None:
    network = model("gpt2")
    one, again, other = (sample(network, b"a", max_new_tokens=20, seed=seed) for seed in (1, 1, 2))
    assert one == again != other


def test_top_k_of_one_chooses_the_likeliest_token() -> None:
    network = model("gpt2")
    assert sample(network, b"ab", max_new_tokens=9, top_k=1, temperature=5) == sample(
        network, b"ab", max_new_tokens=9, temperature=0
    )


def test_sampling_follows_the_distribution() -> None:
    logits = torch.tensor([0.0, 1.0, 2.0, -50.0])
    generator = torch.Generator().manual_seed(0)
    drawn = [choose(logits, Sampling(temperature=0.5, top_k=2), generator) for _ in range(4000)]
    expected = torch.tensor([2.0, 4.0]).softmax(0)
    assert set(drawn) == {1, 2}
    assert drawn.count(1) / 4000 == pytest.approx(expected[0].item(), abs=0.02)


def test_end_of_text_ends_generation_and_an_empty_prompt_starts_after_it() -> None:
    network = model("gpt2")
    with torch.no_grad():
        network.lm_head.weight = torch.nn.Parameter(torch.zeros(VOCABULARY, 32))
    seen: list[Any] = []
    network.register_forward_pre_hook(
        lambda _, args, kwargs: seen.append(kwargs["input_ids"].tolist()), with_kwargs=True
    )
    assert len(list(generation.generate(network, [], Sampling(3, temperature=0), END, VOCABULARY))) == 3
    assert seen[0] == [[END]]
    with torch.no_grad():
        network.lm_head.weight[END] = network.transformer.ln_f.bias + 1
        network.transformer.ln_f.bias.add_(1)
    assert sample(network, b"x", temperature=0) == []


@pytest.fixture
def trained(settings: Settings, write_config: Callable[[Any], Path], call: Call, tmp_path: Path) -> Path:
    settings["training"] |= {"steps": 120, "learning_rate": 5e-3, "checkpoint_every": 60}
    settings["model"]["window_size"] = 24
    assert call("train", "--config", write_config(settings)).exit_code == 0
    return tmp_path / "out"


def test_a_trained_model_generates_what_it_learned(trained: Path, call: Call) -> None:
    arguments = ("--prompt", "5 bottles of ", "--max-new-tokens", 24, "--temperature", 0)
    result = call("generate", "--checkpoint", trained, *arguments)
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("5 bottles of ")
    assert "be" in result.stdout[13:]
    assert result.stderr.count("INFO: Attention backend:") == 1
    newest = trained / "checkpoints" / "step-00000120"
    assert call("generate", "--checkpoint", newest, *arguments).stdout == result.stdout
    assert (
        call("generate", "--checkpoint", newest, *arguments, "--attention-backend", "manual").stdout
        == result.stdout
    )

    (newest / "model.safetensors").write_bytes(b"damaged")
    fallen_back = call("generate", "--checkpoint", trained, *arguments)
    assert fallen_back.exit_code == 0
    assert "step-00000120 is damaged" in fallen_back.stderr
    damaged = call("generate", "--checkpoint", newest, *arguments)
    assert damaged.exit_code == 2
    assert "is damaged: model.safetensors has changed" in damaged.stderr


def test_a_window_pattern_is_used_in_training_saved_and_used_in_sampling(
    settings: Settings, write_config: Callable[[Any], Path], call: Call, tmp_path: Path, records: Any
) -> None:
    settings["model"] |= {"window_size": 9, "window_pattern": "SL"}
    done = call("train", "--config", write_config(settings), "--full-layers", "0")
    assert done.exit_code == 0, done.output
    log = records(tmp_path / "out" / "metrics.jsonl")
    assert log[0]["windows"] == [None, None]
    assert log[1]["window_size"] is None
    again = tmp_path / "again"
    done = call("train", "--config", write_config(settings), "--output-dir", again)
    log = records(again / "metrics.jsonl")
    assert log[0]["windows"] == [9, None]
    assert log[1]["window_size"] == 9
    network, _ = load(again, "cpu", "auto", None, lambda _: None)
    assert trained_windows(network.config) == (9, None)
    assert call("generate", "--checkpoint", again, "--max-new-tokens", 30).exit_code == 0


def test_sampling_in_16_bits(trained: Path, call: Call) -> None:
    arguments = ("--prompt", "5 bottles of ", "--max-new-tokens", 24, "--temperature", 0)
    result = call("generate", "--checkpoint", trained, *arguments, "--amp")
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("5 bottles of ")
    network, _ = load(trained, "cpu", "auto", None, lambda _: None, amp=True)
    assert {parameter.dtype for parameter in network.parameters()} == {torch.bfloat16}


def test_strict_sampling_refuses_a_fallback(trained: Path, call: Call) -> None:
    named = ("generate", "--checkpoint", trained, "--attention-backend", "xformers")
    strict = call(*named, "--strict")
    assert strict.exit_code == 2
    assert "--strict: the attention backend xformers cannot be used" in strict.stderr
    lenient = call(*named, "--max-new-tokens", 1)
    assert lenient.exit_code == 0
    assert "WARNING: xformers requested but" in lenient.stderr


def test_a_missing_checkpoint_ends_with_status_2(call: Call, tmp_path: Path) -> None:
    result = call("generate", "--checkpoint", tmp_path / "none", "--prompt", "x")
    assert result.exit_code == 2
    assert f"{tmp_path / 'none'} does not exist. Set --checkpoint" in result.stderr


def test_an_unknown_device_ends_with_status_2(call: Call, tmp_path: Path) -> None:
    model("gpt2").save_pretrained(tmp_path)
    ByteTokenizer().save(tmp_path)
    result = call("generate", "--checkpoint", tmp_path, "--device", "gpu")
    assert result.exit_code == 2
    assert "Use auto, cpu, cuda or cuda:N" in result.stderr


def test_text_in_any_language_can_be_printed_in_any_pipe(tmp_path: Path, capability_file: Path) -> None:
    folder = tmp_path / "mödel"
    model("gpt2").save_pretrained(folder)
    ByteTokenizer().save(folder)
    for encoding in ("cp1252", "ascii"):
        done = subprocess.run(
            [
                sys.executable,
                ROOT / "aios.py",
                "generate",
                "--checkpoint",
                folder,
                "--prompt",
                "漢 é ",
                "--seed",
                "1",
            ],
            capture_output=True,
            cwd=ROOT,
            env={**os.environ, "PYTHONIOENCODING": encoding, "OMP_NUM_THREADS": "1"},
            check=False,
        )
        assert done.returncode == 0, done.stderr.decode(encoding)
        assert "\\u6f22" in done.stdout.decode(encoding)
        assert len(done.stdout) > 50
