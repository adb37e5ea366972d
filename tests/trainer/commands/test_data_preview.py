"""`aios data preview`: what is read and learned, compared with the records and with what a run trains on."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import Result

from trainer import data
from trainer.config import DataSection
from trainer.models.tokenizer import ByteTokenizer

Call = Callable[..., Result]
ROOT = Path(__file__).parents[3]
RECORDS: list[dict[str, Any]] = [
    {"conversations": [{"from": "human", "value": "Grüße?"}, {"from": "gpt", "value": "Ja, 10 €."}]},
    {"conversations": [{"from": "human", "value": "Why?"}, {"from": "gpt", "value": "because " * 40}]},
    {"conversations": [{"from": "human", "value": "No answer."}]},
    {"instruction": "a", "output": ""},
]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "Gespräche 1.jsonl"
    path.write_text("".join(json.dumps(record) + "\n" for record in RECORDS), encoding="utf-8")
    return path


def test_the_figures_are_those_of_a_run(file: Path, call: Call) -> None:
    found = json.loads(call("data", "preview", str(file), "--max-length", "200", "--json").stdout)
    assert found["format"] == "sharegpt, alpaca"
    assert found["records"] == {"sharegpt": 3, "alpaca": 1}
    assert [(each["reason"], each["count"]) for each in found["dropped"]] == [
        ("no answer", 1),
        ("an empty answer", 1),
    ]
    section = DataSection(dataset_file=file, max_length=200, eval_fraction=0.0)
    training = data.load(section, ByteTokenizer(), lambda message: None).training
    batch = training.batch(np.arange(training.blocks))
    assert found["tokens"] == len(training.tokens)
    assert found["sequences"] == training.blocks
    assert found["learned_tokens"] - found["cut"]["learned_tokens_lost"] == batch.valid_tokens()
    assert found["cut"]["conversations"] == 1


def test_an_example_shows_each_token_and_whether_it_is_learned(file: Path, call: Call) -> None:
    example, _ = json.loads(call("data", "preview", str(file), "--json").stdout)["examples"]
    answer = "Ja, 10 €.<|im_end|>".encode()
    learned = [
        token for token, is_learned in zip(example["tokens"], example["learned"], strict=True) if is_learned
    ]
    assert learned == [*answer, ByteTokenizer.end_id, ord("\n")]
    assert [part["text"] for part in example["text"] if part["learned"]] == [
        f"{answer.decode()}<|endoftext|>\n"
    ]
    everything = json.loads(call("data", "preview", str(file), "--json", "--train-on", "all").stdout)
    assert everything["learned_tokens"] == everything["tokens"]


def test_the_text_says_what_was_dropped_and_cut(file: Path, call: Call) -> None:
    text = call("data", "preview", str(file), "--max-length", "200").stdout
    assert "Form: 3 records of ShareGPT, 1 record of Alpaca" in text
    assert "2 records were dropped: 1 because of: no answer" in text
    assert f"{file}, line 3" in text
    assert "Longer than a sequence: 1 conversations" in text
    assert "»Ja, 10 €.<|im_end|><|endoftext|>\n«" in text
    assert "Tokens are bytes" in text


def test_plain_text_has_a_preview(tmp_path: Path, call: Call) -> None:
    (tmp_path / "t.txt").write_text("one<|endoftext|>two")
    found = json.loads(call("data", "preview", str(tmp_path / "t.txt"), "--max-length", "4", "--json").stdout)
    assert (found["format"], found["documents"], found["tokens"]) == ("text", 2, 8)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--data-format", "chat"], "= 'chat'"),
        (["--data-format", "alpaca"], "looked for instruction and output"),
        (["--chat-template", "nowhere.jinja"], "no template has this name"),
    ],
)
def test_what_cannot_be_previewed_is_an_error(file: Path, call: Call, options: list[str], words: str) -> None:
    result = call("data", "preview", str(file), *options)
    assert result.exit_code == 2
    assert words in result.output


@pytest.mark.long  # starts a Python of its own
def test_it_works_in_a_cp1252_pipe(file: Path) -> None:
    command = [sys.executable, "-m", "aios", "data", "preview", str(file)]
    environment = {"PYTHONIOENCODING": "cp1252", "PYTHONPATH": str(ROOT), "PATH": ""}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, check=True)
    assert "»Ja, 10 €." in done.stdout.decode("cp1252")
