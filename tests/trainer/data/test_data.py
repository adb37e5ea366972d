"""Packing, order and held-out text, compared with plain loops."""

from __future__ import annotations

import itertools
import math
import random
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainer import data
from trainer.config import DataSection
from trainer.data import IGNORED, split, tokens
from trainer.data.documents import Piece
from trainer.data.stream import make
from trainer.errors import UserError
from trainer.models.huggingface_tokenizer import NotUtf8Error
from trainer.models.tokenizer import ByteTokenizer

BYTES = ByteTokenizer()
END, PAD = BYTES.end_id, BYTES.pad_id


def load(path: Path, length: int, eval_fraction: float, **others: Any) -> data.Dataset:
    section = DataSection(dataset_file=path, max_length=length, eval_fraction=eval_fraction, **others)
    return data.load(section, BYTES, print)


def everything(stream: data.Stream) -> data.Batch:
    return stream.batch(np.arange(stream.blocks))


@pytest.mark.parametrize("length", [1, 2, 7, 64])
@pytest.mark.parametrize(
    "text", [b"abcdefghij" * 7, b"one\n<|endoftext|>\ntwo\r\n<|endoftext|>\r\nthree, longer", b"xy"]
)
def test_every_token_but_a_documents_first_is_a_target_exactly_once(text: bytes, length: int) -> None:
    stream = data.stream_of(text, BYTES, length)
    batch = everything(stream)
    documents = [part.strip(b"\r\n") for part in text.split(b"<|endoftext|>")]
    expected = Counter(token for document in documents for token in [*document[1:], END])
    got = Counter(token for token in batch.targets.flatten().tolist() if token != IGNORED)
    assert got == expected
    assert batch.valid_tokens() == sum(expected.values())


def test_the_targets_of_a_block_are_its_tokens_shifted_by_one() -> None:
    batch = data.stream_of(b"abcdefg", BYTES, 3).batch(np.array([0, 2]))
    assert batch.tokens.tolist() == [[97, 98, 99], [103, END, PAD]]
    assert batch.targets.tolist() == [[98, 99, 100], [END, IGNORED, IGNORED]]
    assert batch.document_ids is None


def test_documents_are_numbered_and_padding_belongs_to_none_of_them() -> None:
    batch = everything(data.stream_of(b"ab<|endoftext|>cd", BYTES, 4))
    assert batch.tokens.tolist() == [[97, 98, END, 99], [100, END, PAD, PAD]]
    assert batch.document_ids is not None
    assert batch.document_ids.tolist() == [[0, 0, 0, 1], [1, 1, 2, 2]]
    assert batch.targets.tolist() == [[98, END, IGNORED, 100], [END, IGNORED, IGNORED, IGNORED]]


def test_entropies_equal_those_counted_from_bytes() -> None:
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
    assert END not in loaded.training.tokens  # not an end-of-text token
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
        (b"", "contains no text"),
        (b" \n\t\n", "contains no text"),
        (b"short", "is too short"),
        (b"long enough to train on, but its tail is not", "its held-out part"),
    ],
)
def test_an_unusable_data_set_is_explained(tmp_path: Path, content: bytes | None, words: str) -> None:
    path = tmp_path / "t.txt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError, match=words):
        load(path, 16, 0.05)


def test_without_evaluation_the_whole_text_is_trained_on(tmp_path: Path) -> None:
    (tmp_path / "t.txt").write_bytes(b"a" * 100)
    loaded = load(tmp_path / "t.txt", 16, 0.0)
    assert loaded.held_out is None
    assert len(loaded.training.tokens) == 101


def test_without_packing_each_document_has_its_own_rows(tmp_path: Path) -> None:
    (tmp_path / "t.txt").write_bytes(b"abcdef<|endoftext|>xy<|endoftext|>abc")
    stream = load(tmp_path / "t.txt", 3, 0.0, packing=False).training
    batch = everything(stream)
    expected = [[97, 98, 99], [100, 101, 102], [120, 121, END], [97, 98, 99]]
    assert batch.tokens.tolist() == expected
    assert batch.targets.tolist() == [[98, 99, 100], [101, 102, END], [121, END, IGNORED], [98, 99, END]]
    assert batch.document_ids is None
    assert not stream.packed


@settings(max_examples=100, deadline=None)
@given(
    texts=st.lists(st.binary(min_size=1, max_size=40).filter(bytes.strip), min_size=2, max_size=12),
    length=st.integers(1, 20),
    fraction=st.sampled_from([0.0, 0.1, 0.3]),
    packing=st.booleans(),
)
def test_every_token_is_a_target_once_and_no_document_is_on_both_sides(
    texts: list[bytes], length: int, fraction: float, packing: bool
) -> None:
    source = tokens.of_text((Piece(text, True, "") for text in texts), BYTES)
    cut = split.tail(source, BYTES, fraction) if fraction else split.end(source)
    served: Counter[int] = Counter()
    sides = [(split.START, cut), (cut, split.end(source))]
    for begin, end in (side for side in sides if side[0] != side[1]):
        part = make(source, begin.token, end.token, 0, length, PAD, packing)
        batch = everything(part)
        served.update(batch.targets[batch.targets != IGNORED].tolist())
    expected = Counter(token for text in texts for token in [*text[1:], END])
    between_documents = cut.token in {0, *source.ends.tolist()}
    assert between_documents or cut.inside
    # A split inside a document loses one target: the first held-out token, whose context is in the training part.
    assert sum((expected - served).values()) == (not between_documents)
    assert not served - expected


def test_held_out_documents_are_whole_and_of_about_the_requested_size(tmp_path: Path) -> None:
    documents = [f"{n}:" + "x" * (n % 90) for n in range(600)]
    (tmp_path / "t.txt").write_text("<|endoftext|>".join(documents))
    loaded = load(tmp_path / "t.txt", 16, 0.1)
    assert loaded.held_out is not None
    parts = [bytes(part.tokens.clip(0, 255).astype(np.uint8)) for part in (loaded.training, loaded.held_out)]
    found = [part.split(b"\xff")[:-1] for part in parts]
    assert [document.decode() for part in found for document in part] == documents
    size = sum(map(len, documents))
    assert loaded.held_out.text_bytes == sum(map(len, found[1]))
    assert abs(loaded.held_out.text_bytes - 0.1 * size) < 60


def test_a_long_last_document_is_split_with_a_message(tmp_path: Path) -> None:
    (tmp_path / "t.txt").write_bytes(b"first<|endoftext|>" + b"line by line\n" * 200)
    said: list[str] = []
    section = DataSection(dataset_file=tmp_path / "t.txt", max_length=16, eval_fraction=0.1)
    loaded = data.load(section, BYTES, said.append)
    assert said == [
        "INFO: the held-out text starts in the middle of a document: no document ends close to the split."
    ]
    assert loaded.held_out is not None
    assert bytes(loaded.held_out.tokens[:4].astype(np.uint8)) == b"line"
    assert 0.09 < loaded.held_out.text_bytes / 2605 < 0.11


def test_a_separate_file_can_be_held_out(tmp_path: Path) -> None:
    (tmp_path / "t.txt").write_bytes(b"a" * 100)
    (tmp_path / "e.txt").write_bytes(b"b" * 50)
    loaded = load(tmp_path / "t.txt", 16, 0.3, eval_file=tmp_path / "e.txt")
    assert loaded.held_out is not None
    assert (len(loaded.training.tokens), len(loaded.held_out.tokens)) == (101, 51)
    assert loaded.held_out.text_bytes == 50


def test_a_block_past_the_last_is_padding_without_a_target() -> None:
    for packing in (True, False):
        source = tokens.of_text([Piece(b"abc", True, ""), Piece(b"de", True, "")], BYTES)
        part = make(source, 0, 7, 5, 4, PAD, packing)
        batch = part.batch(np.array([0, part.blocks]))
        assert batch.tokens[1].tolist() == [PAD] * 4
        assert batch.targets[1].tolist() == [IGNORED] * 4
        assert batch.valid_tokens() == 3


def test_an_offset_past_the_end_is_refused(tmp_path: Path) -> None:
    (tmp_path / "t.txt").write_bytes(b"a" * 100)
    with pytest.raises(
        UserError,
        match="dataset_start_offset = 7 is past the end of the data set, which has 7 training samples of 16 tokens",
    ):
        load(tmp_path / "t.txt", 16, 0.0, dataset_start_offset=7)


def test_text_that_a_tokenizer_rejects_is_located_in_its_file(tmp_path: Path) -> None:
    class Strict(ByteTokenizer):
        def encode_batch(self, texts: list[bytes], continued: Any = None) -> list[Any]:
            return [self.encode(text) for text in texts]

        def encode(self, text: bytes) -> Any:
            try:
                text.decode()
            except UnicodeDecodeError as error:
                raise NotUtf8Error(text, error) from None
            return super().encode(text)

    (tmp_path / "t.txt").write_bytes(b"one<|endoftext|>tw\xe9<|endoftext|>three")
    with pytest.raises(
        UserError,
        match=r"document at .*t\.txt, byte 16 cannot be tokenized: .* not UTF-8 \(.* at byte 2\): it looks like Latin-1",
    ):
        data.load(DataSection(dataset_file=tmp_path / "t.txt", max_length=4), Strict(), print)


def test_utf_16_is_recognized(tmp_path: Path) -> None:
    text = "PowerShell wrote this".encode("utf-16")
    with pytest.raises(UnicodeDecodeError) as error:
        text.decode()
    assert "it looks like UTF-16. Save it as UTF-8." in str(NotUtf8Error(text, error.value))
