"""Packing, order and held-out text, against plain loops."""

from __future__ import annotations

import itertools
import math
import random
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from trainer import data
from trainer.config import DataSection
from trainer.data import IGNORED
from trainer.errors import UserError
from trainer.tokenizer import ByteTokenizer

BYTES = ByteTokenizer()
END, PAD = BYTES.end_id, BYTES.pad_id


def load(path: Path, length: int, eval_fraction: float, **others: Any) -> data.Dataset:
    settings = DataSection(dataset_file=path, max_length=length, eval_fraction=eval_fraction, **others)
    return data.load(settings, BYTES, print)


def everything(stream: data.Stream) -> data.Batch:
    return stream.batch(np.arange(stream.blocks))


@pytest.mark.parametrize("length", [1, 2, 7, 64])
@pytest.mark.parametrize(
    "text", [b"abcdefghij" * 7, b"one\n<|endoftext|>\ntwo\r\n<|endoftext|>\r\nthree, longer", b"xy"]
)
def test_every_token_but_a_documents_first_is_a_target_exactly_once(text: bytes, length: int) -> None:
    stream = data.stream(text, BYTES, length)
    batch = everything(stream)
    documents = [part.strip(b"\r\n") for part in text.split(b"<|endoftext|>")]
    expected = Counter(token for document in documents for token in [*document[1:], END])
    got = Counter(token for token in batch.targets.flatten().tolist() if token != IGNORED)
    assert got == expected
    assert batch.valid_tokens() == sum(expected.values())


def test_a_block_is_the_text_and_its_targets_are_the_text_one_later() -> None:
    batch = data.stream(b"abcdefg", BYTES, 3).batch(np.array([0, 2]))
    assert batch.tokens.tolist() == [[97, 98, 99], [103, END, PAD]]
    assert batch.targets.tolist() == [[98, 99, 100], [END, IGNORED, IGNORED]]
    assert batch.document_ids is None


def test_documents_are_numbered_and_padding_belongs_to_none_of_them() -> None:
    batch = everything(data.stream(b"ab<|endoftext|>cd", BYTES, 4))
    assert batch.tokens.tolist() == [[97, 98, END, 99], [100, END, PAD, PAD]]
    assert batch.document_ids is not None
    assert batch.document_ids.tolist() == [[0, 0, 0, 1], [1, 1, 2, 2]]
    assert batch.targets.tolist() == [[98, END, IGNORED, 100], [END, IGNORED, IGNORED, IGNORED]]


def test_entropies_are_those_of_counting() -> None:
    text = random.Random(0).choices(b"abcde", weights=[5, 4, 3, 2, 1], k=4000)
    single, pairs = Counter(text), Counter(itertools.pairwise(text))
    before = Counter(text[:-1])
    unigram = -sum(n / 4000 * math.log2(n / 4000) for n in single.values())
    bigram = -sum(n / 3999 * math.log2(n / before[first]) for (first, _), n in pairs.items())
    assert data.entropies(bytes(text)) == pytest.approx((unigram, bigram), abs=1e-12)


def test_the_tail_is_held_out_and_nothing_is_lost(tmp_path: Path) -> None:
    text = "".join(f"zeile {n} äöü\n" for n in range(400)).encode()
    (tmp_path / "t.txt").write_bytes(text)
    loaded = load(tmp_path / "t.txt", 16, 0.1)
    assert loaded.held_out is not None
    first, second = (
        bytes(p.tokens[p.tokens < 256].astype(np.uint8)) for p in (loaded.training, loaded.held_out)
    )
    assert first + second == text
    assert (loaded.training.text_bytes, loaded.held_out.text_bytes) == (len(first), len(second))
    assert END not in loaded.training.tokens  # it is no end of text
    assert first.endswith(b"\n")
    assert 0.08 < len(second) / len(text) < 0.1


def test_the_tail_never_begins_inside_a_character(tmp_path: Path) -> None:
    for extra in range(3):
        (tmp_path / "t.txt").write_bytes(b"x" * extra + "€".encode() * 500)
        loaded = load(tmp_path / "t.txt", 16, 0.1)
        assert loaded.held_out is not None
        bytes(loaded.held_out.tokens[:-1].astype(np.uint8)).decode()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "No data set at"),
        (b"", "is empty"),
        (b" \n\t\n", "is empty"),
        (b"short", "is too short"),
        (b"long enough to train on, but its tail is not", "its held-out part"),
    ],
)
def test_a_data_set_that_is_no_use_is_explained(tmp_path: Path, content: bytes | None, words: str) -> None:
    path = tmp_path / "t.txt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError, match=words):
        load(path, 16, 0.05)


def test_without_evaluation_all_of_the_text_is_trained_on(tmp_path: Path) -> None:
    (tmp_path / "t.txt").write_bytes(b"a" * 100)
    loaded = load(tmp_path / "t.txt", 16, 0.0)
    assert loaded.held_out is None
    assert len(loaded.training.tokens) == 101
