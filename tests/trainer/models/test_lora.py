"""LoRA: frozen weights do not change, adapters are saved as peft saves them, and resumed runs are bit-equal."""

from __future__ import annotations

import json
import shutil
import sys
import warnings
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import torch
from packaging.version import Version
from safetensors.torch import load_file
from torch import Tensor
from transformers import AutoConfig, AutoModelForCausalLM
from transformers.integrations.peft import MIN_PEFT_VERSION
from typer.testing import Result

from trainer import mfu
from trainer.config import ModelSection
from trainer.errors import UserError
from trainer.models import hub, lora
from trainer.models.model import build_trained, checkpoint_activations, read_config
from trainer.models.tokenizer import ByteTokenizer

pytest.importorskip("peft")
if Version(version("peft")) < Version(MIN_PEFT_VERSION):
    pytest.skip(f"this transformers requires peft {MIN_PEFT_VERSION}", allow_module_level=True)

Settings = dict[str, dict[str, Any]]
WriteConfig = Callable[[Any], Path]
Call = Callable[..., Result]
Records = Callable[[Path], list[dict[str, Any]]]
TOKENS = torch.arange(24)[None]
SIZES: dict[str, dict[str, Any]] = {
    "gpt2": {"n_layer": 2, "n_head": 2, "n_embd": 32, "n_positions": 64}
    | dict.fromkeys(("resid_pdrop", "embd_pdrop", "attn_pdrop"), 0.0),
    "llama": {"num_hidden_layers": 2, "hidden_size": 32, "intermediate_size": 64, "num_attention_heads": 4}
    | {"num_key_value_heads": 2, "max_position_embeddings": 64},
}


def network(kind: str) -> Any:
    torch.manual_seed(0)
    special = {"vocab_size": 258, "bos_token_id": 256, "eos_token_id": 256}
    config = AutoConfig.for_model(kind, **special, **SIZES[kind])
    return AutoModelForCausalLM.from_config(config, dtype=torch.float32)


@pytest.fixture(params=SIZES)
def base(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A tiny Hugging Face model with weights and a byte tokenizer."""
    folder = tmp_path / f"base of {request.param} ß"
    network(request.param).save_pretrained(folder)
    ByteTokenizer().save(folder)
    return folder


@pytest.fixture
def llama(tmp_path: Path) -> Path:
    folder = tmp_path / "base"
    network("llama").save_pretrained(folder)
    ByteTokenizer().save(folder)
    return folder


@pytest.fixture
def adapted(settings: Settings) -> Callable[[Path], Settings]:
    def with_base(base: Path) -> Settings:
        settings["model"] = {"name": str(base), "use_peft": True, "lora_r": 4, "lora_alpha": 8}
        settings["training"] |= {"learning_rate": 1e-2}
        return settings

    return with_base


def logits(model: Any, tokens: Tensor = TOKENS) -> Tensor:
    with torch.no_grad():
        found: Tensor = model.eval()(input_ids=tokens).logits
    return found


def hash_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


Adapted = Callable[[Path], Settings]


def test_a_run_trains_and_saves_an_adapter_and_freezes_the_model(
    base: Path, adapted: Adapted, write_config: WriteConfig, call: Call, records: Records, tmp_path: Path
) -> None:
    before = hash_of(base)
    settings = adapted(base)
    settings["training"]["steps"] = 40
    result = call("train", "--config", write_config(settings))
    assert result.exit_code == 0, result.output
    assert hash_of(base) == before
    losses = [r["loss"] for r in records(tmp_path / "out" / "metrics.jsonl") if r["event"] == "train"]
    assert sum(losses[-5:]) / 5 < sum(losses[:5]) / 5 - 0.1
    checkpoint = tmp_path / "out" / "checkpoints" / "step-00000040"
    assert not (checkpoint / "model.safetensors").exists()
    described = json.loads((checkpoint / "adapter_config.json").read_text(encoding="utf-8"))
    assert (described["peft_type"], described["r"], described["lora_alpha"]) == ("LORA", 4, 8)
    assert Path(described["base_model_name_or_path"]) == base.absolute()
    saved = load_file(checkpoint / "adapter_model.safetensors")
    assert all(name.startswith("base_model.model.") and "lora_" in name for name in saved)
    assert {tensor.dtype for tensor in saved.values()} == {torch.float32}


@pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing.*:FutureWarning")  # peft asks transformers
def test_peft_and_transformers_load_the_adapter(
    base: Path, adapted: Adapted, write_config: WriteConfig, call: Call, tmp_path: Path
) -> None:
    from peft import PeftModel

    assert call("train", "--config", write_config(adapted(base))).exit_code == 0
    checkpoint = tmp_path / "out" / "checkpoints" / "step-00000006"
    alone = AutoModelForCausalLM.from_pretrained(base)
    by_hand = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), checkpoint)
    assert not torch.equal(logits(by_hand), logits(alone))
    assert torch.equal(logits(AutoModelForCausalLM.from_pretrained(checkpoint)), logits(by_hand))
    ours = AutoModelForCausalLM.from_pretrained(base)
    lora.load(ours, checkpoint)
    assert torch.equal(logits(ours), logits(by_hand))
    merged = lora.load_merged(AutoModelForCausalLM.from_pretrained(base), checkpoint)
    assert torch.allclose(logits(merged), logits(by_hand), atol=1e-5)
    assert [name for name, _ in merged.named_parameters()] == [name for name, _ in alone.named_parameters()]


@pytest.mark.parametrize("more", [{"amp": True}, {"optimizer": "muon"}])
def test_a_resumed_run_is_bit_equal(
    base: Path,
    more: dict[str, Any],
    adapted: Adapted,
    write_config: WriteConfig,
    call: Call,
    records: Records,
    tmp_path: Path,
) -> None:
    if more.get("optimizer") == "muon" and not hasattr(torch.optim, "Muon"):
        pytest.skip("torch.optim.Muon came with torch 2.9")
    settings = adapted(base)
    settings["model"] |= {"lora_dropout": 0.2, "window_size": 9}
    settings["training"] |= more
    config = write_config(settings)
    parts = ("train", "--config", config, "--output-dir", tmp_path / "in parts")
    assert call("train", "--config", config).exit_code == 0
    assert call(*parts, "--checkpoint-every", 3).exit_code == 0
    shutil.rmtree(tmp_path / "in parts" / "checkpoints" / "step-00000006")
    result = call(*parts, "--resume")
    assert result.exit_code == 0, result.output
    whole, resumed = (
        {r["step"]: r["loss"] for r in records(folder / "metrics.jsonl") if r["event"] == "train"}
        for folder in (tmp_path / "out", tmp_path / "in parts")
    )
    assert len(whole) == 6
    assert whole == resumed
    finals = [tmp_path / name / "checkpoints" / "step-00000006" for name in ("out", "in parts")]
    first, second = (load_file(folder / "adapter_model.safetensors") for folder in finals)
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_a_damaged_adapter_falls_back_to_the_previous_checkpoint(
    llama: Path, adapted: Adapted, write_config: WriteConfig, call: Call, tmp_path: Path
) -> None:
    config = write_config(adapted(llama))
    assert call("train", "--config", config, "--checkpoint-every", 3).exit_code == 0
    (tmp_path / "out" / "checkpoints" / "step-00000006" / "adapter_model.safetensors").unlink()
    result = call("train", "--config", config, "--resume")
    assert result.exit_code == 0, result.output
    assert "adapter_model.safetensors is missing" in result.stderr


def test_sampling_reads_the_adapter_and_its_base(
    base: Path, adapted: Adapted, write_config: WriteConfig, call: Call, tmp_path: Path
) -> None:
    settings = adapted(base)
    settings["training"]["steps"] = 60
    assert call("train", "--config", write_config(settings)).exit_code == 0
    ask = ("--prompt", "9 bottles", "--max-new-tokens", 30, "--temperature", 0, "--device", "cpu")
    adapted_text = call("generate", "--checkpoint", tmp_path / "out", *ask)
    assert adapted_text.exit_code == 0, adapted_text.output
    assert adapted_text.stdout != call("generate", "--checkpoint", base, *ask).stdout
    base.rename(tmp_path / "moved away")
    result = call("generate", "--checkpoint", tmp_path / "out", *ask)
    assert result.exit_code == 2
    assert "The base model of the adapter in" in result.stderr
    assert str(base.absolute().as_posix()) in result.stderr.replace("\\\\", "/").replace("\n", "")


@pytest.mark.parametrize("kind", SIZES)
def test_only_the_adapter_is_trained_and_initially_it_changes_nothing(kind: str) -> None:
    model = network(kind)
    before = logits(model)
    frozen = {name: parameter.clone() for name, parameter in model.named_parameters()}
    lora.add(model, ModelSection(name="some/model", use_peft=True))
    assert torch.equal(logits(model), before)
    assert all("lora_" in name for name in lora.adapter_parameters(model))
    assert model.peft_config["default"].base_model_name_or_path == "some/model"
    model.train()(input_ids=TOKENS, labels=TOKENS).loss.backward()
    assert {n for n, p in model.named_parameters() if p.grad is not None} == set(
        lora.adapter_parameters(model)
    )
    torch.optim.SGD(lora.adapter_parameters(model).values(), lr=1.0).step()
    assert not torch.equal(logits(model), before)
    for name, parameter in model.named_parameters():
        if name not in lora.adapter_parameters(model):
            assert torch.equal(parameter, frozen[name.replace(".base_layer", "")])


@pytest.mark.parametrize("kind", SIZES)
def test_recomputed_activations_give_the_same_gradient(kind: str) -> None:
    """A frozen embedding has no gradient, so its output must require one for the layers to get any."""
    gradients: list[dict[str, Any]] = []
    for again in (False, True):
        model = network(kind).train()
        torch.manual_seed(1)
        lora.add(model, ModelSection(name="some/model", use_peft=True))
        if again:
            checkpoint_activations(model)
        model(input_ids=TOKENS, labels=TOKENS, use_cache=False).loss.backward()
        gradients.append({name: parameter.grad for name, parameter in lora.adapter_parameters(model).items()})
    assert any(gradient.abs().max() > 0 for gradient in gradients[0].values())
    for name, gradient in gradients[0].items():
        assert torch.equal(gradient, gradients[1][name]), name


def test_frozen_weights_have_the_dtype_of_computation_and_the_adapter_is_float32() -> None:
    model = network("llama").to(torch.bfloat16)
    lora.add(model, ModelSection(name="some/model", use_peft=True))
    types = {name: parameter.dtype for name, parameter in model.named_parameters()}
    assert {types[name] for name in lora.adapter_parameters(model)} == {torch.float32}
    assert {kind for name, kind in types.items() if "lora_" not in name} == {torch.bfloat16}


def test_target_layers_can_be_named() -> None:
    model = network("llama")
    lora.add(model, ModelSection(name="x/y", use_peft=True, lora_target_modules=("q_proj", "v_proj")))
    assert {name.split(".")[-4] for name in lora.adapter_parameters(model)} == {"q_proj", "v_proj"}


def test_an_unknown_layer_is_reported_with_the_layers_of_the_model() -> None:
    asked = ModelSection(name="x/y", use_peft=True, lora_target_modules=("query",))
    with pytest.raises(UserError, match=r"query.*This model has: down_proj, gate_proj, k_proj, lm_head"):
        lora.add(network("llama"), asked)


def test_an_adapter_of_another_model_is_refused(
    llama: Path, adapted: Adapted, write_config: WriteConfig, call: Call, tmp_path: Path
) -> None:
    assert call("train", "--config", write_config(adapted(llama))).exit_code == 0
    torch.manual_seed(0)
    config = AutoConfig.from_pretrained(llama, num_hidden_layers=1)
    for load in (lora.load, lora.load_merged):
        with pytest.raises(
            UserError, match=r"does not fit its base model .*: .*layers\.1\.mlp\.down_proj\.lora_A"
        ):
            load(AutoModelForCausalLM.from_config(config), tmp_path / "out" / "checkpoints" / "step-00000006")


OTHER_TRAINERS: dict[str, dict[str, Any]] = {
    "embeddings and output layer trained": {"modules_to_save": ["embed_tokens", "lm_head"]},
    "DoRA": {"use_dora": True},
    "embeddings and output layer adapted": {"target_modules": ["q_proj", "embed_tokens", "lm_head"]},
    "rank-stabilized, ranks by layer": {"use_rslora": True, "rank_pattern": {"layers.0.self_attn.q_proj": 2}},
    "biases": {"bias": "lora_only"},
}


def save_adapter(base: Path, folder: Path, config: Any) -> Any:
    """Save an adapter by peft itself, with random weights; returns peft's model."""
    import peft

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        adapted = peft.get_peft_model(AutoModelForCausalLM.from_pretrained(base), config)
        for parameter in adapted.parameters():
            if parameter.requires_grad:
                torch.nn.init.normal_(parameter, std=0.1)
        adapted.save_pretrained(folder)
    return adapted


def adapter(base: Path, folder: Path, **settings: Any) -> Any:
    import peft

    config = peft.LoraConfig(task_type="CAUSAL_LM", r=4, **{"target_modules": ["q_proj"], **settings})
    return save_adapter(base, folder, config)


@pytest.mark.parametrize("kind", OTHER_TRAINERS)
def test_an_adapter_saved_by_peft_is_loaded_as_peft_loads_it(kind: str, llama: Path, tmp_path: Path) -> None:
    expected = adapter(llama, tmp_path / "adapter", **OTHER_TRAINERS[kind])
    config = read_config(tmp_path / "adapter")
    assert not torch.allclose(logits(network("llama")), logits(expected), atol=1e-3)
    built: tuple[Any, Any] = build_trained(config, tmp_path / "adapter")
    merged, notes = built
    assert torch.allclose(logits(merged), logits(expected), atol=1e-5)
    assert not notes
    merged.save_pretrained(tmp_path / "exported")
    assert torch.equal(logits(AutoModelForCausalLM.from_pretrained(tmp_path / "exported")), logits(merged))


def test_an_adapter_that_adds_tokens_is_refused(llama: Path, tmp_path: Path) -> None:
    import peft

    config = peft.PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=2)
    save_adapter(llama, tmp_path / "adapter", config)
    with pytest.raises(UserError, match="of the type PROMPT_TUNING, which adds tokens"):
        lora.load_merged(network("llama"), tmp_path / "adapter")


def test_settings_of_a_newer_peft_are_refused(llama: Path, tmp_path: Path) -> None:
    adapter(llama, tmp_path / "adapter")
    path = tmp_path / "adapter" / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"use_next_year": True}))
    with pytest.raises(
        UserError, match=r"(?s)settings that peft [\d.]+ does not know.*use_next_year.*--upgrade peft"
    ):
        lora.load_merged(network("llama"), tmp_path / "adapter")


def test_incompatible_versions_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("transformers.integrations.peft.MIN_PEFT_VERSION", "999.0")
    words = r"(?s)transformers [\d.]+ requires peft 999\.0 or later, but peft [\d.]+ is installed.*install 'transformers<"
    with pytest.raises(UserError, match=words) as error:
        lora.add(network("llama"), ModelSection(name="x/y", use_peft=True))
    assert "lora_target_modules" not in str(error.value)


def test_a_peft_that_fails_to_import_is_not_reported_as_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken:
        def find_spec(self, name: str, *_: object) -> None:
            if name == "peft":
                raise ImportError("cannot import name 'HybridCache' from 'transformers'")

    monkeypatch.delitem(sys.modules, "peft", raising=False)
    monkeypatch.setattr(sys, "meta_path", [Broken(), *sys.meta_path])
    with pytest.raises(
        UserError, match=r"HybridCache.*peft [\d.]+ and transformers [\d.]+ probably do not work"
    ):
        lora.add(network("llama"), ModelSection(name="x/y", use_peft=True))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            {"name": None, "architecture": {"model_type": "gpt2"}, "tokenizer": "byte"},
            "requires a trained model",
        ),
        ({"use_peft": False}, "model.lora_alpha has no effect without LoRA"),
        ({"lora_r": 0}, "model.lora_r = 0"),
        ({"lora_dropout": 1.0}, "model.lora_dropout = 1.0"),
    ],
)
def test_invalid_settings_are_rejected(
    llama: Path, adapted: Adapted, write_config: WriteConfig, call: Call, change: Any, words: str
) -> None:
    settings = adapted(llama)
    settings["model"] |= change
    result = call("train", "--config", write_config(settings))
    assert result.exit_code == 2
    assert words in result.stderr


def test_a_folder_without_full_weights_is_refused_as_a_base(
    llama: Path, adapted: Adapted, write_config: WriteConfig, call: Call, tmp_path: Path
) -> None:
    config = write_config(adapted(llama))
    assert call("train", "--config", config).exit_code == 0
    checkpoint = tmp_path / "out" / "checkpoints" / "step-00000006"
    result = call("train", "--config", config, "--name", checkpoint, "--output-dir", tmp_path / "next")
    assert result.exit_code == 2
    assert "contains an adapter, not a model" in result.stderr
    (llama / "model.safetensors").unlink()
    result = call("train", "--config", config, "--output-dir", tmp_path / "next")
    assert result.exit_code == 2
    assert "contains no weights" in result.stderr


def test_a_resumed_run_keeps_its_adapter(
    llama: Path, adapted: Adapted, write_config: WriteConfig, call: Call
) -> None:
    config = write_config(adapted(llama))
    assert call("train", "--config", config).exit_code == 0
    result = call("train", "--config", config, "--resume", "--lora-r", 8)
    assert result.exit_code == 2
    assert "model.lora_r differs from the checkpoint" in result.stderr


def test_a_frozen_weight_costs_4_flops_and_a_trained_one_6() -> None:
    model = network("llama")
    inner = mfu.multiplied_weights(model)
    lora.add(model, ModelSection(name="x/y", use_peft=True, lora_r=4))
    small = sum(parameter.numel() for parameter in lora.adapter_parameters(model).values())
    cost = mfu.utilization(model, 0, (None, None), 8, mfu.Peak()).flops_per_token
    assert cost == 4 * inner + 6 * small


def test_only_known_warnings_of_the_libraries_are_hidden() -> None:
    with warnings.catch_warnings(record=True) as shown:
        warnings.simplefilter("always")
        hub.silence_libraries()
        warnings.warn_explicit("base model unknown", UserWarning, "save.py", 1, module="peft.utils.save")
        warnings.warn_explicit("gone in 5.40", FutureWarning, "module.py", 1, module="torch.nn.modules")
        warnings.warn_explicit("the GPU is too old", UserWarning, "cuda.py", 1, module="torch.cuda")
    assert [str(warning.message) for warning in shown] == ["the GPU is too old"]
