"""Weights in 4 and 8 bits: computed as NF4 and int8 are defined, trained beside, saved, resumed and planned."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForCausalLM
from typer.testing import Result

from trainer.config import ModelSection
from trainer.errors import UserError
from trainer.models import hub, lora, model, quantization
from trainer.models.tokenizer import ByteTokenizer

hub.silence_libraries()
bitsandbytes = pytest.importorskip("bitsandbytes")
pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")

Settings = dict[str, dict[str, Any]]
WriteConfig = Callable[[Any], Path]
Call = Callable[..., Result]
Records = Callable[[Path], list[dict[str, Any]]]
CPU = torch.device("cpu")
TOKENS = torch.arange(24)[None]
SIZES: dict[str, dict[str, Any]] = {
    "gpt2": {"n_layer": 2, "n_head": 2, "n_embd": 64, "n_positions": 64}
    | dict.fromkeys(("resid_pdrop", "embd_pdrop", "attn_pdrop"), 0.0),
    "llama": {"num_hidden_layers": 2, "hidden_size": 64, "intermediate_size": 128, "num_attention_heads": 4}
    | {"num_key_value_heads": 2, "max_position_embeddings": 64},
}
# Dettmers et al. 2023, arXiv:2305.14314, appendix E
NF4 = torch.tensor(
    [
        *(-1.0, -0.6961928, -0.52507305, -0.39491749, -0.28444138, -0.18477343, -0.09105003, 0.0),
        *(0.0795803, 0.1609302, 0.2461123, 0.33791524, 0.44070983, 0.562617, 0.72295684, 1.0),
    ]
)


def folder_of(kind: str, folder: Path) -> Path:
    torch.manual_seed(0)
    special = {"vocab_size": 258, "bos_token_id": 256, "eos_token_id": 256}
    config = AutoConfig.for_model(kind, **special, **SIZES[kind])
    AutoModelForCausalLM.from_config(config, dtype=torch.float32).save_pretrained(folder)
    ByteTokenizer().save(folder)
    return folder


@pytest.fixture(params=SIZES)
def base(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return folder_of(request.param, tmp_path / f"base of {request.param} ß")


@pytest.fixture
def llama(tmp_path: Path) -> Path:
    return folder_of("llama", tmp_path / "base")


@pytest.fixture
def quantized(settings: Settings) -> Callable[..., Settings]:
    def of(base: Path, **more: Any) -> Settings:
        settings["model"] = {"name": str(base), "use_peft": True, "lora_r": 4, "load_in_4bit": True} | more
        settings["training"] |= {"learning_rate": 1e-2}
        return settings

    return of


def rounded_to_nf4(weight: Tensor) -> Tensor:
    """The nearest value of NF4 in units of the largest of 64 weights; that largest one is not rounded here."""
    blocks = weight.reshape(-1, 64)
    largest = blocks.abs().amax(1, keepdim=True)
    nearest = (blocks / largest)[..., None].sub(NF4).abs().argmin(-1)
    return (NF4[nearest] * largest).reshape(weight.shape)


def rounded_to_int8(weight: Tensor) -> Tensor:
    step = weight.abs().amax(1, keepdim=True) / 127
    return (weight / step).round() * step


@pytest.mark.parametrize(("bits", "reference"), [(4, rounded_to_nf4), (8, rounded_to_int8)])
def test_logits_are_those_of_a_model_with_rounded_weights(
    base: Path, bits: int, reference: Callable[[Tensor], Tensor]
) -> None:
    built, notes = model.build_quantized(model.read_config(base), base, 0, torch.float32, bits, CPU)
    rounded = AutoModelForCausalLM.from_pretrained(base)
    for name, parameter in rounded.named_parameters():
        if parameter.ndim == 2 and not any(part in name for part in ("embed", "lm_head", "wte", "wpe")):
            stored = parameter.data.t() if "gpt2" in base.name else parameter.data
            value = reference(stored.contiguous())
            parameter.data = value.t().contiguous() if "gpt2" in base.name else value
    exact = AutoModelForCausalLM.from_pretrained(base)
    with torch.no_grad():
        found, expected, original = (each.eval()(input_ids=TOKENS).logits for each in (built, rounded, exact))
    assert notes == []
    if bits == 4:
        assert (found - expected).norm() < 0.1 * (original - expected).norm()  # of what rounding changes
    assert (found - expected).norm() < 0.02 * expected.norm()  # LLM.int8() rounds the inputs of layers, too


@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_bitsandbytes_is_proven_on_the_device(bits: int, dtype: torch.dtype) -> None:
    quantization.prove(bits, CPU, dtype)


def test_a_wrong_result_of_bitsandbytes_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(self: Any, x: Tensor) -> Tensor:
        return nn.functional.linear(x, x.new_zeros(96, 128)) + x[:, :96]

    monkeypatch.setattr(bitsandbytes.nn.Linear4bit, "forward", wrong)
    with pytest.raises(UserError, match=r"model.load_in_4bit: bitsandbytes .* computes wrong results on cpu"):
        quantization.prove(4, CPU, torch.float32)


def test_a_device_without_support_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(self: Any, x: Tensor) -> Tensor:
        raise NotImplementedError("no kernel for this device")

    monkeypatch.setattr(bitsandbytes.nn.Linear8bitLt, "forward", missing)
    with pytest.raises(UserError, match="does not work on cpu: no kernel for this device"):
        quantization.prove(8, CPU, torch.float32)


def test_a_gradient_passes_through_the_layers_after_an_evaluation(llama: Path) -> None:
    """bitsandbytes repacks 4-bit weights in evaluation mode on a CPU with AVX-512, and has no gradient through them then."""
    built: Any
    built, _ = model.build_quantized(model.read_config(llama), llama, 0, torch.bfloat16, 4, CPU)
    lora.add(built, ModelSection(name="x/y", use_peft=True, lora_r=4))

    def gradients() -> list[Tensor]:
        built.train()(input_ids=TOKENS, labels=TOKENS).loss.backward()
        found = [p.grad for p in lora.adapter_parameters(built).values()]
        built.zero_grad()
        return [gradient for gradient in found if gradient is not None]

    before = gradients()
    with torch.no_grad():
        built.eval()(input_ids=TOKENS)
    after = gradients()
    assert len(before) == len(after) == len(lora.adapter_parameters(built))
    assert all(torch.equal(one, other) for one, other in zip(before, after, strict=True))


@pytest.mark.parametrize("more", [{}, {"load_in_4bit": False, "load_in_8bit": True}])
def test_a_run_trains_saves_and_resumes_bit_equal(
    llama: Path,
    more: dict[str, Any],
    quantized: Callable[..., Settings],
    write_config: WriteConfig,
    call: Call,
    records: Records,
    tmp_path: Path,
) -> None:
    config = write_config(quantized(llama, lora_dropout=0.1, **more))
    parts = ("train", "--config", config, "--output-dir", tmp_path / "in parts")
    result = call("train", "--config", config)
    assert result.exit_code == 0, result.output
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
    first, second = (
        load_file(tmp_path / name / "checkpoints" / "step-00000006" / "adapter_model.safetensors")
        for name in ("out", "in parts")
    )
    assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"use_peft": False, "lora_r": 16}, "model.load_in_4bit requires LoRA"),
        ({"load_in_8bit": True}, "model.load_in_4bit and model.load_in_8bit are both set"),
    ],
)
def test_invalid_settings_are_rejected(
    llama: Path,
    quantized: Callable[..., Settings],
    write_config: WriteConfig,
    call: Call,
    change: Any,
    words: str,
) -> None:
    result = call("train", "--config", write_config(quantized(llama, **change)))
    assert result.exit_code == 2
    assert words in result.stderr


@pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing.*:FutureWarning")
@pytest.mark.parametrize(
    "more",
    [
        {"lora_use_dora": True, "lora_target_modules": ["q_proj", "v_proj"]},
        {"lora_use_rslora": True, "lora_modules_to_save": ["lm_head"]},
    ],
    ids=["dora", "rslora and modules_to_save"],
)
def test_other_adapters_are_saved_as_peft_reads_them(
    llama: Path,
    more: dict[str, Any],
    quantized: Callable[..., Settings],
    write_config: WriteConfig,
    call: Call,
    tmp_path: Path,
) -> None:
    from peft import PeftModel

    config = write_config(quantized(llama, load_in_4bit=False, **more))
    result = call("train", "--config", config)
    assert result.exit_code == 0, result.output
    checkpoint = tmp_path / "out" / "checkpoints" / "step-00000006"
    by_hand = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(llama), checkpoint)
    ours: Any = AutoModelForCausalLM.from_pretrained(llama)
    lora.load(ours, checkpoint)
    merged = lora.load_merged(AutoModelForCausalLM.from_pretrained(llama), checkpoint)
    with torch.no_grad():
        expected = by_hand.eval()(input_ids=TOKENS).logits
        assert torch.equal(ours.eval()(input_ids=TOKENS).logits, expected)
        assert torch.allclose(merged.eval()(input_ids=TOKENS).logits, expected, atol=1e-5)
    described = json.loads((checkpoint / "adapter_config.json").read_text(encoding="utf-8"))
    for key, value in more.items():
        found = described[key.removeprefix("lora_")]
        assert (sorted(found) if isinstance(found, list) else found) == value


@pytest.mark.slow
def test_the_loss_of_qlora_falls_as_that_of_lora_does(
    settings: Settings,
    quantized: Callable[..., Settings],
    llama: Path,
    write_config: WriteConfig,
    call: Call,
    records: Records,
    tmp_path: Path,
) -> None:
    """100 steps on a text that is new to a trained model: the losses, all and the last ones, differ by less than 2%."""

    def losses(name: str, **training: Any) -> list[float]:
        output = tmp_path / name
        settings["output"]["output_dir"] = str(output)
        settings["training"] |= {"steps": 100, "batch_size": 4, "seed": 1} | training
        settings["data"] |= {"max_length": 48, "eval_fraction": 0.0}
        result = call("train", "--config", write_config(settings))
        assert result.exit_code == 0, result.output
        return [record["loss"] for record in records(output / "metrics.jsonl") if record["event"] == "train"]

    settings["model"] = {"name": str(llama)}
    losses("first", steps=200, learning_rate=3e-3)
    trained = tmp_path / "trained"
    exported = call("export", "--checkpoint", tmp_path / "first", "--output", trained)
    assert exported.exit_code == 0, exported.output
    other = tmp_path / "other.txt"
    other.write_text(
        "".join(f"take {n} down; one beer, {n} bottles of the wall.\n" for n in range(900)), encoding="utf-8"
    )
    settings["data"]["dataset_file"] = str(other)
    curves = []
    for bits in (None, 4):
        quantized(trained, load_in_4bit=bits == 4, lora_r=16, lora_alpha=32)
        curves.append(losses(f"lora {bits}", learning_rate=5e-3))
    (lora, lora_end), (qlora, qlora_end) = ((sum(curve) / 100, sum(curve[-10:]) / 10) for curve in curves)
    assert lora_end < 0.5 * curves[0][0]  # it has learned something
    assert qlora == pytest.approx(lora, rel=0.02)
    assert qlora_end == pytest.approx(lora_end, rel=0.02)
