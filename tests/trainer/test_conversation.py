"""`aios chat`: answers equal those that transformers computes for the same messages, and interruptions lose nothing."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig
from typer.testing import CliRunner

import aios
from tests.trainer.models.chat_tokenizer import save_chat_tokenizer
from trainer.conversation import Conversation
from trainer.errors import UserError
from trainer.generate import load
from trainer.models import chat_template, generation
from trainer.models.sampling import Sampling
from trainer.say import Say

TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
POSITIONS = 220


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = save_chat_tokenizer(TEMPLATE, tmp_path / "mödel")
    torch.manual_seed(3)
    config = LlamaConfig(
        vocab_size=len(AutoTokenizer.from_pretrained(path)),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=POSITIONS,
    )
    model: Any = AutoModelForCausalLM.from_config(config)
    for parameter in model.parameters():
        parameter.data.normal_(std=0.3)
    model.save_pretrained(path)
    return path


def conversation(folder: Path, say: Say = print, **sampling: Any) -> Conversation:
    model, tokenizer = load(folder, "cpu", "auto", None, lambda line: None)
    settings = Sampling(**{"max_new_tokens": 12, "temperature": 0, **sampling})
    template = chat_template.choose(None, tokenizer)
    return Conversation(model, tokenizer, template, settings, "Be brief.", say)


def expected(folder: Path, messages: list[dict[str, str]], count: int = 12) -> str:
    """The answer that transformers generates."""
    tokenizer: Any = AutoTokenizer.from_pretrained(folder)
    model: Any = AutoModelForCausalLM.from_pretrained(folder)
    inputs = tokenizer.apply_chat_template(
        messages, add_generation_prompt=True, return_tensors="pt", return_dict=True
    )
    ends = [tokenizer.eos_token_id, tokenizer.convert_tokens_to_ids("<|im_end|>")]
    output = model.generate(
        **inputs, max_new_tokens=count, do_sample=False, eos_token_id=ends, pad_token_id=ends[0]
    )
    text: str = tokenizer.decode(output[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
    return text


def test_answers_are_those_of_transformers(folder: Path) -> None:
    talk = conversation(folder)
    for text in ("Who are you?", "Grüße 漢"):
        before = [*talk.messages, {"role": "user", "content": text}]
        assert "".join(talk.answer(text)) == expected(folder, before)
    assert [message["role"] for message in talk.messages] == [
        "system", "user", "assistant", "user", "assistant",
    ]  # fmt: skip
    talk.start_over()
    assert talk.messages == [{"role": "system", "content": "Be brief."}]


@pytest.mark.parametrize("count", [1, 12])
def test_the_memory_of_the_cache_is_that_of_the_keys_and_values_of_the_text(folder: Path, count: int) -> None:
    talk = conversation(folder, max_new_tokens=count)
    pieces = talk.answer("Who are you?")
    while talk.cache_bytes == 0 and next(pieces, None) is not None:
        pass
    tokenizer: Any = AutoTokenizer.from_pretrained(folder)
    prompt = tokenizer.apply_chat_template(talk.messages[:2], add_generation_prompt=True)["input_ids"]
    layers, keys_and_values, width, float32 = 2, 2, 32, 4
    assert talk.cache_bytes == layers * keys_and_values * width * float32 * (len(prompt) + count - 1)


def test_the_token_that_ends_an_answer_ends_it(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tokenizer: Any = AutoTokenizer.from_pretrained(folder)
    end = tokenizer.convert_tokens_to_ids("<|im_end|>")
    chosen = iter([*tokenizer("ok")["input_ids"], end, 1, 2])
    monkeypatch.setattr(generation, "choose", lambda *rest: next(chosen))
    assert "".join(conversation(folder).answer("?")) == "ok"


def test_an_interrupted_answer_stays_in_the_conversation(folder: Path) -> None:
    talk = conversation(folder)
    pieces = talk.answer("Who?")
    started = next(pieces) + next(pieces)
    pieces.close()
    assert talk.messages[-1] == {"role": "assistant", "content": started}


def test_the_oldest_messages_are_dropped_when_the_context_is_full(folder: Path) -> None:
    said: list[str] = []
    talk = conversation(folder, said.append)
    for text in ("x" * 110, "y" * 20, "z"):
        "".join(talk.answer(text))
    assert said == [f"INFO: the oldest 2 messages no longer fit into the context of {POSITIONS} tokens."]
    assert [message["content"][:1] for message in talk.messages if message["role"] != "assistant"] == [
        "B", "y", "z",
    ]  # fmt: skip
    with pytest.raises(UserError, match=f"the model's context is {POSITIONS} tokens"):
        next(talk.answer("x" * 300))
    assert talk.messages[-1]["role"] == "assistant", "the message that did not fit is forgotten"


def run(monkeypatch: pytest.MonkeyPatch, folder: Path, typed: bytes, encoding: str) -> str:
    """`aios chat` with this input in a pipe."""
    written = io.BytesIO()
    monkeypatch.setattr(sys, "argv", ["aios", "chat", "--checkpoint", str(folder), "--max-new-tokens", "8"])
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(typed), encoding))
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding))
    with pytest.raises(SystemExit) as exited:
        aios.main()
    assert exited.value.code in (0, None)
    return written.getvalue().decode(encoding)


@pytest.mark.parametrize("encoding", ["cp1252", "utf-8"])
def test_a_pipe_of_any_encoding(folder: Path, monkeypatch: pytest.MonkeyPatch, encoding: str) -> None:
    text = run(monkeypatch, folder, "Grüße\n\n/new\nno\n".encode(encoding) + b"\x81\xff\n/exit\nno", encoding)
    assert len(text.splitlines()) >= 3
    assert "> " not in text


def test_a_model_that_was_trained_without_a_template_continues_the_message(folder: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.chat_template = None
    (folder / "chat_template.jinja").unlink(missing_ok=True)
    tokenizer.save_pretrained(folder)
    same = ["--checkpoint", str(folder), "--max-new-tokens", "6", "--temperature", "0"]
    continued = CliRunner().invoke(aios.app, ["generate", *same, "--prompt", "hello"])
    answered = CliRunner().invoke(aios.app, ["chat", *same], input="hello\n")
    assert "trained without a chat template: it continues each message" in answered.stderr
    assert continued.stdout.strip() == f"hello{answered.stdout}".strip()


def test_ctrl_c_stops_an_answer_and_not_the_conversation(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = Conversation.answer

    def interrupted(self: Conversation, text: str) -> Iterator[str]:
        for piece in whole(self, text):
            yield piece
            if text == "first":
                raise KeyboardInterrupt

    monkeypatch.setattr(Conversation, "answer", interrupted)
    ask = ["chat", "--checkpoint", str(folder), "--max-new-tokens", "4", "--temperature", "0"]
    both = CliRunner().invoke(aios.app, ask, input="first\nsecond\n")
    assert both.exit_code == 0, both.output
    alone = CliRunner().invoke(aios.app, ask, input="first\n")
    assert both.stdout.startswith(alone.stdout) and len(both.stdout) > len(alone.stdout)


def test_a_message_that_does_not_fit_is_an_error_of_its_own(folder: Path) -> None:
    ask = ["chat", "--checkpoint", str(folder), "--max-new-tokens", "4", "--temperature", "0"]
    result = CliRunner().invoke(aios.app, ask, input="x" * 300 + "\nhello\n")
    assert result.exit_code == 0, result.output
    assert "Error: The message has" in result.stderr
    assert result.stdout.strip()
