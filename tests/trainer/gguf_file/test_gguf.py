"""GGUF files, read by transformers and by the gguf package, hold the model: weights, settings, tokenizer, chat template."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import numpy.typing as npt
import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, LlamaConfig
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS
from typer.testing import Result

from tests.trainer import small_tokenizers
from tests.trainer.gguf_file import models
from tests.trainer.models.chat_tokenizer import save_chat_tokenizer
from trainer.errors import UserError
from trainer.gguf_file import pre_tokenizers
from trainer.gguf_file.vocabulary import SPACE, vocabulary
from trainer.gguf_file.writing import export, interleave
from trainer.models.huggingface_tokenizer import HuggingFaceTokenizer
from trainer.models.tokenizer import ByteTokenizer

Call = Callable[..., Result]
TOKENS = torch.randint(3, 300, (32,), generator=torch.Generator().manual_seed(0)).tolist()


def silent(line: str) -> None:
    pass


def read(path: Path) -> tuple[dict[str, Any], dict[str, npt.NDArray[np.float32]]]:
    """The keys and tensors of a file. The tensors are dequantized here."""
    reader = gguf.GGUFReader(path)
    keys = {name: field.contents() for name, field in reader.fields.items()}
    return keys, {tensor.name: numbers(tensor) for tensor in reader.tensors}


def numbers(tensor: Any) -> npt.NDArray[np.float32]:
    shape = tuple(reversed(tensor.shape.tolist()))
    data = np.ascontiguousarray(tensor.data)
    if tensor.tensor_type.name == "BF16":
        return (data.view(np.uint16).astype(np.uint32) << 16).view(np.float32).reshape(shape)
    if tensor.tensor_type.name == "Q8_0":  # a float16 scale, then 32 signed bytes
        blocks = data.reshape(-1, 34)
        scales = blocks[:, :2].copy().view(np.float16).astype(np.float32)
        return (blocks[:, 2:].view(np.int8) * scales).reshape(shape).astype(np.float32)
    return data.astype(np.float32).reshape(shape)


@pytest.mark.parametrize("name", models.KINDS)
def test_transformers_reads_the_same_weights(name: str, tmp_path: Path) -> None:
    network = models.save(name, tmp_path)
    export(tmp_path, tmp_path / "model.gguf", "f16", silent)
    config = AutoConfig.from_pretrained(tmp_path)
    if (
        config.model_type == "mistral"
    ):  # transformers reads no GGUF file of this type; llama.cpp calls it llama
        config = LlamaConfig.from_dict(config.to_dict() | {"model_type": "llama"})
    again: Any = AutoModelForCausalLM.from_pretrained(
        tmp_path, gguf_file="model.gguf", config=config, dtype=torch.float32, attn_implementation="eager"
    ).eval()
    found, expected = models.logits(again, TOKENS), models.logits(network, TOKENS)
    assert float((found - expected).abs().max()) <= 1e-4 * float(expected.std())
    assert float(expected.std()) >= 5


def test_the_settings_are_those_of_the_configuration(tmp_path: Path) -> None:
    models.save("gemma3", tmp_path)
    export(tmp_path, tmp_path / "model.gguf", "f16", silent)
    keys, tensors = read(tmp_path / "model.gguf")
    assert keys["general.architecture"] == "gemma3"
    own = {key.removeprefix("gemma3."): value for key, value in keys.items() if key.startswith("gemma3.")}
    assert own.pop("attention.sliding_window_pattern") == [True, False]
    assert own == pytest.approx(
        {
            "vocab_size": 343,
            "context_length": 128,
            "embedding_length": 64,
            "block_count": 2,
            "feed_forward_length": 96,
            "attention.head_count": 4,
            "attention.head_count_kv": 2,
            "attention.key_length": 32,
            "attention.value_length": 32,
            "attention.layer_norm_rms_epsilon": 1e-6,
            "attention.sliding_window": 11,
            "rope.dimension_count": 32,
            "rope.freq_base": 1e6,
            "rope.freq_base_swa": 1e4,
            "rope.scaling.type": "linear",
            "rope.scaling.factor": 4.0,
        }
    )
    assert "output.weight" not in tensors, "tied to the embedding"
    assert len(keys["tokenizer.ggml.tokens"]) == 343


@pytest.mark.parametrize("kind", ["bf16", "q8_0"])
def test_matrices_are_stored_in_the_requested_type(kind: Any, tmp_path: Path) -> None:
    network = models.save("llama", tmp_path)
    export(tmp_path, tmp_path / "model.gguf", kind, silent)
    _, tensors = read(tmp_path / "model.gguf")
    layer = network.model.layers[1]
    expected = layer.mlp.down_proj.weight.detach()
    found = torch.from_numpy(tensors["blk.1.ffn_down.weight"])
    if kind == "bf16":
        assert torch.equal(found, expected.bfloat16().float())
    else:
        # Half a step, and the rounding of the scale to float16
        step = expected.unflatten(-1, (-1, 32)).abs().amax(-1, keepdim=True) / 127
        off = (found - expected).unflatten(-1, (-1, 32)).abs()
        assert bool((off <= step * 0.57).all()) and bool((off > 0).any())
    norm = torch.from_numpy(tensors["blk.1.attn_norm.weight"])
    assert torch.equal(norm, layer.input_layernorm.weight.detach())
    keys, others = layer.self_attn.k_proj.weight.detach(), torch.from_numpy(tensors["blk.1.attn_k.weight"])
    # Rows 0, 16, 1, 17, … of each head with 32 features
    order = [32 * head + 16 * half + i for head in range(2) for i in range(16) for half in range(2)]
    assert torch.equal(interleave(keys, 2), keys[order])
    assert torch.allclose(others, keys[order], atol=0.02)


def test_llama_3_frequencies_are_those_of_transformers(tmp_path: Path) -> None:
    network = models.save("llama, tied, llama3", tmp_path)
    export(tmp_path, tmp_path / "model.gguf", "f16", silent)
    _, tensors = read(tmp_path / "model.gguf")
    plain = 1 / 10000.0 ** (np.arange(0, 16, 2) / 16)
    expected, _ = ROPE_INIT_FUNCTIONS["llama3"](network.config, torch.device("cpu"))
    assert np.allclose(plain / tensors["rope_freqs.weight"], expected.numpy(), rtol=1e-5)
    assert tensors["rope_freqs.weight"].max() == 8


def spm(text: str, keys: dict[str, Any]) -> list[int]:
    """The tokens of a text by llama.cpp's algorithm for SentencePiece vocabularies, without its queue."""
    ids = {piece: i for i, piece in enumerate(keys["tokenizer.ggml.tokens"])}
    scores = keys["tokenizer.ggml.scores"]
    parts = list((" " * keys["tokenizer.ggml.add_space_prefix"] + text).replace(" ", SPACE))
    while True:
        pairs = [
            (-scores[ids[a + b]], i) for i, (a, b) in enumerate(itertools.pairwise(parts)) if a + b in ids
        ]
        if not pairs:
            break
        _, i = min(pairs)
        parts[i : i + 2] = [parts[i] + parts[i + 1]]
    found: list[int] = []
    for part in parts:
        found += [ids[part]] if part in ids else [ids[f"<0x{byte:02X}>"] for byte in part.encode()]
    return found


TEXTS = ("the cat the hat", "Grüße: f(x) = x * x", "漢字 don't match", "  two  spaces ")


@pytest.mark.parametrize("text", TEXTS)
def test_scores_give_the_same_tokens_as_the_merges(text: str, tmp_path: Path) -> None:
    tokenizer = small_tokenizers.sentencepiece()
    tokenizer.save_pretrained(tmp_path)
    ours = HuggingFaceTokenizer(tmp_path)
    keys = vocabulary(ours, 343)
    assert spm(text, keys) == ours.encode(text.encode()).tolist()
    kinds = keys["tokenizer.ggml.token_type"]
    assert kinds[:4] == [2, 3, 3, 6] and kinds[-3:] == [5] * 3
    assert (keys["tokenizer.ggml.add_bos_token"], keys["tokenizer.ggml.bos_token_id"]) == (True, 1)


@pytest.mark.parametrize("text", TEXTS)
def test_the_byte_tokenizer_is_a_vocabulary_without_merges(text: str) -> None:
    keys = vocabulary(ByteTokenizer(), 258)
    assert spm(text, keys) == list(text.encode())
    assert keys["tokenizer.ggml.eos_token_id"] == 256


def test_a_byte_level_tokenizer_keeps_its_merges_and_chat_template(tmp_path: Path) -> None:
    tokenizer = small_tokenizers.byte_level("")
    tokenizer.chat_template = "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}"
    tokenizer.save_pretrained(tmp_path)
    keys = vocabulary(HuggingFaceTokenizer(tmp_path), 330)
    described = json.loads(tokenizer.backend_tokenizer.to_str())
    assert keys["tokenizer.chat_template"] == {"default": tokenizer.chat_template}
    assert (keys["tokenizer.ggml.model"], keys["tokenizer.ggml.pre"]) == ("gpt2", "gpt-2")
    assert keys["tokenizer.ggml.tokens"][: len(tokenizer)] == tokenizer.convert_ids_to_tokens(
        range(len(tokenizer))
    )
    assert keys["tokenizer.ggml.merges"] == [" ".join(pair) for pair in described["model"]["merges"]]
    assert keys["tokenizer.ggml.add_bos_token"] is False


def split(pattern: str, ignore_merges: bool = False) -> dict[str, Any]:
    """The parts of a tokenizer.json like Llama 3's."""
    steps = [
        {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False},
        {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False},
    ]
    return {
        "normalizer": None,
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": steps},
        "model": {"ignore_merges": ignore_merges},
    }


LLAMA_3 = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"


def test_pre_tokenizers_have_llama_cpps_names(tmp_path: Path) -> None:
    from transformers.models.qwen2.tokenization_qwen2 import PRETOKENIZE_REGEX

    name = pre_tokenizers.pre_tokenizer
    assert name(split(PRETOKENIZE_REGEX)) == "qwen2"
    assert name(split(LLAMA_3, ignore_merges=True)) == "llama-bpe"
    assert name(split(LLAMA_3)) == "dbrx"
    assert name(split(PRETOKENIZE_REGEX, ignore_merges=True)) is None
    assert name(split(r"\w+")) is None
    assert name({**split(LLAMA_3), "normalizer": {"type": "Lowercase"}}) is None


@pytest.mark.parametrize(
    ("name", "changes", "words"),
    [
        ("llama", {"hidden_act": "relu"}, "hidden_act = relu, and llama.cpp computes with silu"),
        ("gemma2", {"query_pre_attn_scalar": 64}, "query_pre_attn_scalar = 64.0"),
        ("gemma2", {"tie_word_embeddings": False}, "tie_word_embeddings = False"),
        (
            "llama",
            {"rope_parameters": {"rope_type": "dynamic", "rope_theta": 1e4, "factor": 2.0}},
            "no position encoding with these settings",
        ),
    ],
)
def test_what_llama_cpp_cannot_compute_is_refused(
    name: str, changes: dict[str, Any], words: str, tmp_path: Path
) -> None:
    models.save(name, tmp_path, **changes)
    with pytest.raises(UserError, match=words):
        export(tmp_path, tmp_path / "model.gguf", "f16", silent)
    assert not (tmp_path / "model.gguf").exists()


def test_other_tokenizers_and_weights_beyond_float16_are_refused(tmp_path: Path) -> None:
    small_tokenizers.word_piece().save_pretrained(tmp_path / "pieces")
    with pytest.raises(UserError, match=r"a WordPiece model, which llama\.cpp does not have"):
        vocabulary(HuggingFaceTokenizer(tmp_path / "pieces"), 330)
    save_chat_tokenizer("", tmp_path / "bytes")
    with pytest.raises(UserError, match="a byte-level vocabulary without merges"):
        vocabulary(HuggingFaceTokenizer(tmp_path / "bytes"), 330)
    network = models.save("llama", tmp_path / "a")
    network.model.layers[0].mlp.up_proj.weight.data[0, 0] = 1e5
    network.save_pretrained(tmp_path / "a")
    with pytest.raises(UserError, match=r"ffn_up.weight has weights beyond 65504.* Use bf16"):
        export(tmp_path / "a", tmp_path / "a.gguf", "f16", silent)
    assert not (tmp_path / "a.gguf").exists()


def test_a_window_that_llama_cpp_ignores_is_reported(tmp_path: Path) -> None:
    said: list[str] = []
    models.save("mistral", tmp_path, sliding_window=9)
    export(tmp_path, tmp_path / "model.gguf", "f16", said.append)
    assert "Its answers are the same up to 9 tokens of context" in "".join(said)
    assert read(tmp_path / "model.gguf")[0]["llama.attention.sliding_window"] == 9


def test_a_merged_adapter_is_exported_by_the_command(tmp_path: Path, call: Call, text_file: Path) -> None:
    models.save("llama", tmp_path / "base ß")
    train = ("train", "--name", tmp_path / "base ß", "--dataset-file", text_file, "--use-peft", "--steps", 2)
    more = ("--learning-rate", 0.1, "--max-length", 32, "--device", "cpu", "--output-dir", tmp_path / "out")
    done = call(*train, *more)
    assert done.exit_code == 0, done.output
    ask = ("export", "--checkpoint", tmp_path / "out", "--output")
    assert call(*ask, tmp_path / "x.gguf", "--gguf").exit_code == 0
    assert call(*ask, tmp_path / "x", "--merge").exit_code == 0
    merged = AutoModelForCausalLM.from_pretrained(tmp_path / "x").state_dict()
    _, tensors = read(tmp_path / "x.gguf")
    expected = merged["model.layers.0.mlp.up_proj.weight"].half().float()
    assert torch.equal(torch.from_numpy(tensors["blk.0.ffn_up.weight"]), expected)
    assert len(AutoTokenizer.from_pretrained(tmp_path / "x")) == 340
    again = call(*ask, tmp_path / "x.gguf", "--gguf")
    assert (again.exit_code, "already exists" in again.stderr) == (2, True)
    mixed = call(*ask, tmp_path / "y.gguf", "--gguf", "--dtype", "float16")
    assert (mixed.exit_code, "use --gguf-type" in mixed.stderr) == (2, True)


@pytest.mark.filterwarnings("ignore::FutureWarning")  # peft's, for transformers
def test_an_adapter_is_merged_in_float32_into_a_base_of_16_bits(tmp_path: Path) -> None:
    from peft import LoraConfig, get_peft_model

    network = models.save("llama", tmp_path / "base")
    network.bfloat16().save_pretrained(tmp_path / "base")
    adapted: Any = get_peft_model(network, LoraConfig(r=4, target_modules=["q_proj"], use_dora=True))
    for name, parameter in adapted.named_parameters():
        if "lora_B" in name:
            parameter.data.normal_(std=0.02)
    adapted.base_model.peft_config["default"].base_model_name_or_path = str(tmp_path / "base")
    adapted.save_pretrained(tmp_path / "adapter")
    AutoTokenizer.from_pretrained(tmp_path / "base").save_pretrained(tmp_path / "adapter")
    export(tmp_path / "adapter", tmp_path / "x.gguf", "f16", silent)
    _, tensors = read(tmp_path / "x.gguf")
    merged = adapted.float().merge_and_unload().state_dict()
    expected = interleave(merged["model.layers.1.self_attn.q_proj.weight"], 4)
    found = torch.from_numpy(tensors["blk.1.attn_q.weight"])
    assert torch.equal(found, expected.half().float())
    assert not torch.equal(found, expected.bfloat16().float()), "it was not rounded to bfloat16 in between"
    other = merged["model.layers.1.mlp.up_proj.weight"]
    assert torch.equal(torch.from_numpy(tensors["blk.1.ffn_up.weight"]), other.half().float())
