"""Tokens that occur need a row in the model; others do not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoModelForCausalLM, AutoTokenizer
from typer.testing import Result

from tests.trainer.small_models import SMALL
from tests.trainer.small_tokenizers import byte_level

Call = Callable[..., Result]
TEXT = "the cat and the hat\n" * 60


@pytest.fixture
def train(tmp_path: Path, call: Call) -> Callable[..., Result]:
    """Train two steps on a text with a model whose tokenizer has two tokens more than the model."""
    from transformers import AutoConfig

    tokenizer = byte_level()
    rows = len(tokenizer)
    tokenizer.add_special_tokens({"additional_special_tokens": ["<image>"], "pad_token": "<pad>"})
    ids = {"bos_token_id": 0, "eos_token_id": 1, "vocab_size": rows}
    config = AutoConfig.for_model("gemma3_text", **SMALL["gemma3_text"], **ids)
    AutoModelForCausalLM.from_config(config).save_pretrained(tmp_path / "model")
    tokenizer.save_pretrained(tmp_path / "model")

    def run(text: str, *options: object) -> Result:
        (tmp_path / "text.txt").write_text(text, encoding="utf-8")
        sizes = ("--max-length", 16, "--batch-size", 2, "--steps", 2, "--eval-batches", 1)
        data = ("--name", tmp_path / "model", "--dataset-file", tmp_path / "text.txt")
        return call("train", *data, *sizes, "--output-dir", tmp_path / "out", *options)

    return run


def test_unused_extra_tokens_can_be_trained_with_and_are_refused_in_a_prompt(
    train: Callable[..., Result], call: Call, tmp_path: Path
) -> None:
    result = train(TEXT)
    assert result.exit_code == 0, result.output
    assert "INFO: every document and prompt begins with <|begin|>" in result.stderr
    generated = call("generate", "--checkpoint", tmp_path / "out", "--prompt", "the <image>")
    assert generated.exit_code == 2
    assert "--prompt contains 1 tokens for which the model has no embedding: <image>" in generated.stderr


def test_extra_tokens_in_the_data_are_refused_or_get_new_rows(
    train: Callable[..., Result], call: Call, tmp_path: Path
) -> None:
    text = TEXT.replace("hat", "<image>")
    refused = train(text)
    assert refused.exit_code == 2
    assert "The data set contains 1 tokens for which the model has no embedding: <image>" in refused.stderr
    grown = train(text, "--resize-token-embeddings", "--checkpoint-every", 1)
    assert grown.exit_code == 0, grown.output
    assert "the vocabulary grew from" in grown.stderr
    resumed = train(text, "--resize-token-embeddings", "--resume", "--steps", 3)
    assert resumed.exit_code == 0, resumed.output
    assert call("export", "--checkpoint", tmp_path / "out", "--output", tmp_path / "exported").exit_code == 0
    rows: Any = AutoModelForCausalLM.from_pretrained(tmp_path / "exported").get_input_embeddings()
    assert len(rows.weight) == len(AutoTokenizer.from_pretrained(tmp_path / "exported"))
    generated = call("generate", "--checkpoint", tmp_path / "out", "--prompt", "the <image>")
    assert generated.exit_code == 0, generated.output
