"""transformers loads an exported model without aios and computes the same with its eager attention."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, GenerationConfig
from typer.testing import Result

from doctor.files import move
from trainer.attention import huggingface
from trainer.export import with_own_windows
from trainer.models.tokenizer import ByteTokenizer

Settings = dict[str, dict[str, Any]]
WriteConfig = Callable[[Any], Path]
Call = Callable[..., Result]
TOKENS = torch.randint(0, 250, (2, 48), generator=torch.Generator().manual_seed(0))
SIZES = {
    "vocab_size": 260, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 4, "num_attention_heads": 4,
    "num_key_value_heads": 2, "max_position_embeddings": 64, "bos_token_id": 256, "eos_token_id": 256, "pad_token_id": 257,
}  # fmt: skip
GPT2 = {"n_layer": 2, "n_head": 2, "n_embd": 32, "n_positions": 64}


def network(kind: str, **changes: Any) -> Any:
    """A model whose weights are large enough for every layer to affect the output."""
    torch.manual_seed(0)
    heads = {"head_dim": 8} if kind in ("gemma2", "qwen3") else {}
    config = AutoConfig.for_model(kind, **SIZES, **heads, **(GPT2 if kind == "gpt2" else {}), **changes)
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval()
    for parameter in model.parameters():
        parameter.data.normal_(std=0.2)
    return model


def logits(model: Any, tokens: Tensor = TOKENS) -> Tensor:
    with torch.no_grad():
        found: Tensor = model.eval()(input_ids=tokens, use_cache=False).logits
    return found


def near(a: Tensor, b: Tensor) -> bool:
    return torch.allclose(a, b, rtol=1e-4, atol=1e-4 * float(b.abs().max()))


def eager(folder: Path) -> Any:
    return AutoModelForCausalLM.from_pretrained(folder, attn_implementation="eager")


@pytest.fixture
def tokenizer_folder(tmp_path: Path) -> Path:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    bpe: Any = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=260,
        special_tokens=["<|endoftext|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train_from_iterator(["take one down"], trainer)
    folder = tmp_path / "tokenizer"
    PreTrainedTokenizerFast(tokenizer_object=bpe, eos_token="<|endoftext|>").save_pretrained(folder)
    return folder


@pytest.fixture
def gpt2(tmp_path: Path, tokenizer_folder: Path) -> Path:
    """A GPT-2 saved by transformers: tied weights, in shards, with a tokenizer and generation settings."""
    folder = tmp_path / "gpt2 ß"
    model = network("gpt2", resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0)
    model.generation_config = GenerationConfig(max_new_tokens=7, eos_token_id=0)
    model.save_pretrained(folder, max_shard_size="30KB")
    AutoTokenizer.from_pretrained(tokenizer_folder).save_pretrained(folder)
    return folder


@pytest.mark.parametrize(
    ("kind", "window"),
    [
        ("llama", None),
        ("mistral", 9),
        ("mistral", None),
        ("phi3", 9),
        ("starcoder2", 9),
        ("qwen2", 9),
        ("qwen2", (9, 9, 9, None)),
        ("qwen3", (None, 9)),
        ("gemma2", 9),
        ("smollm3", (9, 9, 9, None)),
    ],
)
def test_windows_are_exported_as_settings_of_transformers(kind: str, window: Any, tmp_path: Path) -> None:
    windows = window * 2 if isinstance(window, tuple) and len(window) == 2 else window
    model = network(kind)
    without = logits(model)
    huggingface.attach(model.config, backend="manual", window=windows)
    ours = logits(model)
    said = with_own_windows(model.config)
    assert said is not None
    model.config = said
    model.save_pretrained(tmp_path)
    assert near(logits(eager(tmp_path)), ours)
    assert near(ours, without) == (window is None)


@pytest.mark.parametrize(
    ("kind", "window"),
    [
        ("gpt2", 9),
        ("llama", 9),
        ("mistral", (9, 9, 9, None)),
        ("exaone4", 9),
        ("cohere2", 9),
        ("qwen3", (9, 5)),
    ],
)
def test_windows_without_a_setting_in_transformers_are_not_exported(kind: str, window: Any) -> None:
    windows = window * 2 if isinstance(window, tuple) and len(window) == 2 else window
    config = AutoConfig.for_model(kind, **SIZES, **(GPT2 if kind == "gpt2" else {}))
    huggingface.attach(config, backend="manual", window=windows)
    assert with_own_windows(config) is None


def test_a_gpt2_of_transformers_is_trained_and_exported(
    gpt2: Path, settings: Settings, write_config: WriteConfig, call: Call, tmp_path: Path
) -> None:
    assert len([*gpt2.glob("model-*.safetensors")]) > 1
    settings["model"] = {"name": str(gpt2)}
    assert call("train", "--config", write_config(settings)).exit_code == 0
    result = call("export", "--checkpoint", tmp_path / "out", "--output", tmp_path / "exported")
    assert result.exit_code == 0, result.output
    assert "WARNING" not in result.stderr
    checkpoint = tmp_path / "out" / "checkpoints" / "step-00000006"
    exported = eager(tmp_path / "exported")
    assert torch.equal(logits(exported), logits(eager(checkpoint)))
    assert not torch.equal(logits(exported), logits(eager(gpt2)))
    assert exported.lm_head.weight is exported.transformer.wte.weight
    assert {parameter.dtype for parameter in exported.parameters()} == {torch.float32}
    assert exported.generation_config.max_new_tokens == 7
    text = "take one down ß"
    tokenizers = [
        AutoTokenizer.from_pretrained(folder) for folder in (gpt2, checkpoint, tmp_path / "exported")
    ]
    assert len({tuple(tokenizer(text)["input_ids"]) for tokenizer in tokenizers}) == 1
    assert sorted(path.name for path in (tmp_path / "exported").iterdir()) == [
        "README.md", "config.json", "generation_config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json",
    ]  # fmt: skip


def test_weights_can_be_exported_in_16_bits(
    settings: Settings, write_config: WriteConfig, call: Call, tmp_path: Path
) -> None:
    assert call("train", "--config", write_config(settings)).exit_code == 0
    asked = ("--checkpoint", tmp_path / "out", "--output", tmp_path / "x", "--dtype", "bfloat16")
    assert call("export", *asked).exit_code == 0
    weights = load_file(tmp_path / "x" / "model.safetensors")
    trained = load_file(tmp_path / "out" / "checkpoints" / "step-00000006" / "model.safetensors")
    assert all(torch.equal(weights[name], tensor.bfloat16()) for name, tensor in trained.items())
    assert json.loads((tmp_path / "x" / "config.json").read_text(encoding="utf-8"))["dtype"] == "bfloat16"


def test_a_window_that_transformers_would_lose_is_reported_and_kept_for_aios(
    settings: Settings, write_config: WriteConfig, call: Call, tmp_path: Path
) -> None:
    settings["model"]["window_size"] = 9
    assert call("train", "--config", write_config(settings)).exit_code == 0
    result = call("export", "--checkpoint", tmp_path / "out", "--output", tmp_path / "x")
    assert result.exit_code == 0
    assert "WARNING: transformers has no such sliding window" in result.stderr
    assert json.loads((tmp_path / "x" / "config.json").read_text(encoding="utf-8"))["aios_windows"] == [9, 9]
    ask = ("--prompt", "9 bottles", "--max-new-tokens", 20, "--temperature", 0, "--device", "cpu")
    texts = {call("generate", "--checkpoint", tmp_path / name, *ask).stdout for name in ("x", "out")}
    assert len(texts) == 1


def test_a_window_that_transformers_supports_is_exported(
    settings: Settings, write_config: WriteConfig, call: Call, tmp_path: Path
) -> None:
    sizes = {
        name: value for name, value in SIZES.items() if not name.endswith("_id") and name != "vocab_size"
    }
    settings["model"] |= {"architecture": {"model_type": "mistral", **sizes}, "window_size": 9}
    assert call("train", "--config", write_config(settings)).exit_code == 0
    result = call("export", "--checkpoint", tmp_path / "out", "--output", tmp_path / "x")
    assert result.exit_code == 0
    assert "WARNING" not in result.stderr
    described = json.loads((tmp_path / "x" / "config.json").read_text(encoding="utf-8"))
    assert (described["sliding_window"], described.get("aios_windows")) == (9, None)
    config = AutoConfig.from_pretrained(tmp_path / "out" / "checkpoints" / "step-00000006")
    huggingface.attach(config, backend="manual", window=9)
    ours = AutoModelForCausalLM.from_pretrained(tmp_path / "x", config=config)
    assert torch.allclose(logits(ours), logits(eager(tmp_path / "x")), atol=1e-5)


@pytest.fixture
def adapted(settings: Settings, write_config: WriteConfig, call: Call, tmp_path: Path) -> Path:
    """Train an adapter; returns the folder of its base model."""
    pytest.importorskip("peft")
    network("mistral").save_pretrained(tmp_path / "base")
    ByteTokenizer().save(tmp_path / "base")
    settings["model"] = {"name": str(tmp_path / "base"), "use_peft": True, "window_size": 9}
    settings["training"]["learning_rate"] = 1e-2
    assert call("train", "--config", write_config(settings)).exit_code == 0
    return tmp_path / "base"


def test_an_adapter_is_merged_into_a_full_model(adapted: Path, call: Call, tmp_path: Path) -> None:
    asked = ("--checkpoint", tmp_path / "out", "--output", tmp_path / "x", "--merge")
    result = call("export", *asked)
    assert result.exit_code == 0, result.output
    merged, base = eager(tmp_path / "x"), eager(adapted)
    assert [name for name, _ in merged.named_parameters()] == [name for name, _ in base.named_parameters()]
    beside = AutoModelForCausalLM.from_pretrained(adapted, sliding_window=9, attn_implementation="eager")
    beside.load_adapter(str(tmp_path / "out" / "checkpoints" / "step-00000006"))
    assert torch.allclose(logits(merged), logits(beside), atol=1e-3)
    assert not torch.allclose(logits(merged), logits(base), atol=1e-1)


def test_an_adapter_is_exported_alone_and_transformers_loads_it_with_its_base(
    adapted: Path, call: Call, tmp_path: Path
) -> None:
    result = call("export", "--checkpoint", tmp_path / "out", "--output", tmp_path / "x")
    assert result.exit_code == 0, result.output
    assert "WARNING: transformers has no such sliding window" in result.stderr
    assert sorted(path.name for path in (tmp_path / "x").iterdir()) == [
        "README.md", "adapter_config.json", "adapter_model.safetensors", "base", "tokenizer_config.json",
    ]  # fmt: skip
    checkpoint = tmp_path / "out" / "checkpoints" / "step-00000006"
    found, expected = (
        AutoModelForCausalLM.from_pretrained(folder) for folder in (tmp_path / "x", checkpoint)
    )
    assert torch.equal(logits(found), logits(expected))
    assert not torch.equal(logits(found), logits(AutoModelForCausalLM.from_pretrained(adapted)))
    ask = ("--prompt", "9 bottles", "--max-new-tokens", 20, "--temperature", 0, "--device", "cpu")
    texts = {call("generate", "--checkpoint", tmp_path / name, *ask).stdout for name in ("x", "out")}
    assert len(texts) == 1


def test_invalid_exports_are_rejected(
    settings: Settings, write_config: WriteConfig, call: Call, tmp_path: Path
) -> None:
    assert call("train", "--config", write_config(settings)).exit_code == 0
    ask = ("export", "--checkpoint", tmp_path / "out", "--output")
    for arguments, words in (
        ((tmp_path / "x", "--merge"), "contains a model, not an adapter"),
        ((tmp_path,), "already exists"),
    ):
        result = call(*ask, *arguments)
        assert result.exit_code == 2
        assert words in result.stderr
    result = call("export", "--checkpoint", tmp_path / "nowhere", "--output", tmp_path / "x")
    assert result.exit_code == 2
    assert not (tmp_path / "x").exists()


def test_an_exported_folder_is_complete_or_absent(
    settings: Settings, write_config: WriteConfig, call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert call("train", "--config", write_config(settings)).exit_code == 0

    def full(source: Path, target: Path) -> None:
        raise OSError(28, "No space left on device", str(target))

    monkeypatch.setattr("doctor.files.move", full)
    ask = ("export", "--checkpoint", tmp_path / "out", "--output", tmp_path / "x")
    result = call(*ask)
    assert result.exit_code == 1
    assert "could not be written" in result.stderr
    assert not (tmp_path / "x").exists()
    monkeypatch.setattr("doctor.files.move", move)
    assert call(*ask).exit_code == 0
    assert not [*tmp_path.glob(".x.*")]


def test_only_what_aios_has_left_is_removed_before_an_export(
    settings: Settings, write_config: WriteConfig, call: Call, tmp_path: Path
) -> None:
    assert call("train", "--config", write_config(settings)).exit_code == 0
    for name in ("x.partial", ".x.notes", ".x.0123abcd.tmp"):
        (tmp_path / name).mkdir()
    assert call("export", "--checkpoint", tmp_path / "out", "--output", tmp_path / "x").exit_code == 0
    assert sorted(path.name for path in tmp_path.glob("*x.*")) == [".x.notes", "x.partial"]


def test_exporting_a_model_of_aios_says_what_to_import(
    settings: Settings, write_config: WriteConfig, call: Call, tmp_path: Path
) -> None:
    sizes = {"hidden_size": 32, "num_heads": 2, "h_layers": 1, "l_layers": 1}
    settings["model"]["architecture"] = {"model_type": "hrm_act_v1", **sizes}
    settings["training"]["steps"] = 1
    trained = call("train", "--config", write_config(settings))
    assert trained.exit_code == 0, trained.output
    result = call("export", "--checkpoint", tmp_path / "out", "--output", tmp_path / "x")
    assert result.exit_code == 0, result.output
    assert "has no hrm_act_v1 models" in result.stderr
    assert "must import trainer.hrm.model first" in result.stderr.replace("\n", " ")
    checkpoint = tmp_path / "out" / "checkpoints" / "step-00000001"
    pair = [AutoModelForCausalLM.from_pretrained(folder) for folder in (checkpoint, tmp_path / "x")]
    assert torch.equal(*(logits(model) for model in pair))
