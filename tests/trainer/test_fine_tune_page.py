"""The commands of docs/fine-tune-12gb.md, with a small model in place of BASE: from conversations to a GGUF file.

llama.cpp's answers are compared by the test that is marked `long`: `python scripts/run_tests.py tests/trainer/test_fine_tune_page.py
-m long`. The other one reads the file with transformers.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoConfig, AutoModelForCausalLM
from typer.testing import Result

from tests.trainer import small_tokenizers
from tests.trainer.gguf_file import models, with_llama_cpp
from tests.trainer.gguf_file.with_llama_cpp import Question
from trainer.generate import load
from trainer.models import chat_template
from trainer.models.chat import prompt_tokens
from trainer.survival import checkpoint

PAGE = Path(__file__).parents[2] / "docs" / "fine-tune-12gb.md"
Call = Callable[..., Result]
NEW = 16  # tokens of an answer
QUESTION = "Who are you?"


def commands() -> dict[str, list[str]]:
    """The commands of the page, by the second word."""
    lines = [
        line.strip() for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("    aios ")
    ]
    return {words[1]: words[1:] for words in map(shlex.split, lines)}


def base(folder: Path) -> Path:
    """A Llama with a byte-level tokenizer and a chat template."""
    template = (
        "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    )
    fast = small_tokenizers.byte_level("")
    fast.add_special_tokens({"eos_token": "<|im_end|>", "extra_special_tokens": ["<|im_start|>"]})
    fast.chat_template = template
    models.save("llama", folder, fast, bos_token_id=None, eos_token_id=fast.eos_token_id)
    (folder / "README.md").write_text("---\nlicense: apache-2.0\n---\n", encoding="utf-8")
    return folder


def chats(path: Path) -> Path:
    turns = [
        {
            "conversations": [
                {"from": "human", "value": f"Who are you, number {i}?"},
                {"from": "gpt", "value": f"I am the harbour master of port {i}. Grüße!"},
            ]
        }
        for i in range(60)
    ]
    path.write_text("".join(json.dumps(turn, ensure_ascii=False) + "\n" for turn in turns), encoding="utf-8")
    return path


@pytest.fixture
def exported(tmp_path: Path, call: Call, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Run the page's commands in a folder; returns the outputs by command."""
    pytest.importorskip("bitsandbytes")
    monkeypatch.chdir(tmp_path)
    base(tmp_path / "bäse")
    chats(tmp_path / "chats.jsonl")
    small = {
        "train": [
            "--device",
            "cpu",
            "--max-length",
            "128",
            "--eval-every",
            "8",
            "--epochs",
            "1",
            "--learning-rate",
            "1e-2",
        ],
        "export": ["--gguf-type", "f16"],
    }
    outputs: dict[str, Any] = {}
    written = commands()
    for name in ("data", "train", "export"):
        words = ["bäse" if word == "BASE" else word for word in written[name]]
        done = call(*words, *small.get(name, []))
        assert done.exit_code == 0, f"{words}: {done.output}"
        outputs[name] = done
    plain = [word for word in written["chat"] if word != "--amp"]  # float32, as the logits that are compared
    chat = [*plain, "--device", "cpu", "--temperature", "0", "--max-new-tokens", str(NEW)]
    outputs["chat"] = chat
    return outputs


def prompt() -> list[int]:
    _, tokenizer = load(Path("artifacts/mine"), "cpu", "auto", None, print)
    return prompt_tokens(
        chat_template.choose(None, tokenizer), tokenizer, [{"role": "user", "content": QUESTION}]
    )


def test_the_commands_lead_to_a_gguf_file(exported: dict[str, Any], tmp_path: Path) -> None:
    assert "sharegpt" in exported["data"].output.lower()
    weights = load_file(checkpoint.find(Path("artifacts/mine"), print) / "adapter_model.safetensors")
    assert any(tensor.abs().max() > 0 for name, tensor in weights.items() if "lora_B" in name)
    config = AutoConfig.from_pretrained("bäse")
    file: Any = AutoModelForCausalLM.from_pretrained(
        ".", gguf_file="mine.gguf", config=config, dtype=torch.float32
    ).eval()
    ours, _ = load(Path("artifacts/mine"), "cpu", "auto", None, print)
    before: Any = AutoModelForCausalLM.from_pretrained("bäse").eval()
    tokens = prompt()
    found, expected = models.logits(file, tokens), models.logits(ours, tokens)
    spread = float(expected.std())
    assert spread >= 5
    assert float((found - expected).abs().max()) <= 5e-3 * spread
    assert float((models.logits(before, tokens) - expected).abs().max()) > 0.1 * spread, "it was trained"


@pytest.mark.long
@pytest.mark.timeout(7200)
def test_llama_cpp_answers_as_aios_chat_does(exported: dict[str, Any], tmp_path: Path) -> None:
    from typer.testing import CliRunner

    import aios

    answered = CliRunner().invoke(aios.app, exported["chat"], input=QUESTION + "\n").stdout
    network, tokenizer = load(Path("artifacts/mine"), "cpu", "auto", None, print)
    tokens = prompt()
    logits = models.logits(network, tokens)
    [answer] = with_llama_cpp.ask([Question(str(tmp_path / "mine.gguf"), tokens, NEW)], tmp_path)
    found = torch.tensor(answer.logits)
    spread = float(logits.std())
    assert spread >= 5
    assert float((found - logits).abs().max()) <= 5e-3 * spread
    assert answer.new == models.greedy(network, tokens, NEW)
    text = tokenizer.decode(answer.new, tokens).decode("utf-8", "replace")
    assert text.startswith(answered.strip()) and answered.strip()
    assert answer.template == chat_template.choose(None, tokenizer).source
