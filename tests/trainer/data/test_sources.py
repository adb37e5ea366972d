"""Files of each kind, and folders of files, compared with the text written into them."""

from __future__ import annotations

import csv
import itertools
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from trainer.data import documents, sources
from trainer.data.fields import field_of
from trainer.data.instructions import Reading, Tally
from trainer.errors import UserError

DOCUMENTS = ["Grüße,\n世界 🙂", 'says "no", twice\r\n', "", "a<b>\ttab", "x" * 3000]
SEPARATOR = re.compile(rb"(?:\r?\n)?<\|endoftext\|>(?:\r?\n)?")
Write = Callable[[Path, list[str], str], None]


def write_lines(path: Path, documents: list[str], field: str) -> None:
    lines = (json.dumps({"id": number, field: text}) for number, text in enumerate(documents))
    path.write_text("\n".join(lines), encoding="utf-8")


def write_csv(path: Path, documents: list[str], field: str) -> None:
    with path.open("w", encoding="utf-8-sig", newline="") as file:
        rows = csv.writer(file, "excel-tab" if path.suffix == ".tsv" else "excel")
        rows.writerows([["id", field], *([str(n), text] for n, text in enumerate(documents))])


def write_parquet(path: Path, documents: list[str], field: str) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    parquet.write_table(
        pyarrow.table({"id": list(range(len(documents))), field: documents}), path, row_group_size=2
    )


def read(path: Path, field: str | None = None) -> list[bytes]:
    """The documents of a file or folder."""
    found, begun = [], b""
    for source in sources.find(path, print):
        for piece in sources.pieces(source, Reading(field), Tally()):
            begun += piece.text
            if piece.last:
                found.append(begun)
                begun = b""
    assert not begun
    return found


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("d.jsonl", write_lines),
        ("d.ndjson", write_lines),
        ("d.json", write_lines),
        ("d.csv", write_csv),
        ("d.TSV", write_csv),
        ("d.parquet", write_parquet),
    ],
)
def test_every_document_is_read_whole_and_in_order(tmp_path: Path, name: str, write: Write) -> None:
    path = tmp_path / name
    if name == "d.TSV":  # a suffix counts whatever its case
        write(path.with_suffix(".tsv"), DOCUMENTS, "content")
        path.with_suffix(".tsv").replace(path)
    else:
        write(path, DOCUMENTS, "content")
    assert read(path) == [text.encode() for text in DOCUMENTS]
    assert read(path, "content") == read(path)
    with pytest.raises(UserError, match=r"looked for a field 'nowhere', found id, content\. .*--text-field"):
        read(path, "nowhere")


def test_the_text_field_is_recognized_by_its_name_or_as_the_only_one() -> None:
    assert field_of(["url", "content", "text"], None, "here") == "text"
    assert field_of(["utterance"], None, "here") == "utterance"
    assert field_of(["text", "summary"], "summary", "here") == "summary"
    with pytest.raises(
        UserError, match=r"here: looked for one of the fields text, .* found question, answer"
    ):
        field_of(["question", "answer"], None, "here")


def test_json_lines_may_be_plain_strings_and_null_is_skipped(tmp_path: Path) -> None:
    (tmp_path / "d.jsonl").write_text('\ufeff"one"\n\n{"text": null}\n{"text": "two"}\n', encoding="utf-8")
    assert read(tmp_path / "d.jsonl") == [b"one", b"two"]


def test_a_lone_surrogate_becomes_a_question_mark(tmp_path: Path) -> None:
    (tmp_path / "d.jsonl").write_text(r'{"text": "a\ud800b"}', encoding="utf-8")
    assert read(tmp_path / "d.jsonl") == [b"a?b"]


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("d.jsonl", b'{"text": "a"}\n{"text": "b', r"d\.jsonl, line 2 is not valid JSON"),
        ("d.jsonl", b'{"text": "a"}\n{"body": "b"}', r"line 2: looked for a field 'text', found body"),
        ("d.jsonl", b'{"text": ["a", "b"]}', r"line 1: the text field 'text' contains list .* not a string"),
        ("d.jsonl", b'{"text": "caf\xe9"}', "is not UTF-8 text: it looks like Latin-1"),
        ("d.csv", b"text,id\na,1\nb\n", r"d\.csv, line 3 has 1 columns, but the header has 2"),
        ("d.csv", b"text,id\ncaf\xe9,1\n", "is not UTF-8 text: it looks like Latin-1"),
        ("d.csv", b'text,id\n"a\n', r"not valid CSV in UTF-8"),
        ("d.csv", b"", r"its first line: looked for .* found no field"),
    ],
)
def test_a_file_that_does_not_match_its_suffix_is_named_with_the_line(
    tmp_path: Path, name: str, content: bytes, words: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=words):
        read(tmp_path / name)


def test_a_damaged_parquet_file_is_explained(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    (tmp_path / "d.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(UserError, match="is not a valid Parquet file"):
        read(tmp_path / "d.parquet")


def test_a_parquet_file_without_pyarrow_says_how_to_install_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "d.parquet").write_bytes(b"PAR1")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(
        UserError, match=r"needs the package pyarrow, which is not installed\. To install it:"
    ):
        read(tmp_path / "d.parquet")


def test_a_folder_is_read_in_the_order_of_names_without_hidden_files(tmp_path: Path) -> None:
    for name in (
        "b.txt",
        "a/z.txt",
        "a/.hidden.txt",
        ".git/x.txt",
        "c.jsonl",
        "notes.md",
        "LICENSE",
        "d.JSON",
    ):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(f'"{name}"', encoding="utf-8")
    (tmp_path / "settings.json").write_text('{"name": "x", "size": 1}', encoding="utf-8")
    said: list[str] = []
    names = [source.name for source in sources.find(tmp_path, said.append)]
    assert names == ["a/z.txt", "b.txt", "c.jsonl", "d.JSON"]
    assert len(said) == 1
    assert said[0].endswith("are skipped: 1 .json without a text, 1 .md, 1 without a suffix.")
    assert read(tmp_path) == [b'"a/z.txt"', b'"b.txt"', b"c.jsonl", b"d.JSON"]


def test_a_folder_without_data_says_what_was_searched_for_and_found(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"looked for \.txt, .*, found no file"):
        sources.find(tmp_path, print)
    (tmp_path / "a.md").touch()
    with pytest.raises(UserError, match=r"found 1 \.md"):
        sources.find(tmp_path, print)


def test_a_byte_order_mark_is_not_part_of_the_text(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"\xef\xbb\xbfone<|endoftext|>\xef\xbb\xbftwo")
    assert read(tmp_path / "a.txt") == [b"one", b"\xef\xbb\xbftwo"]


@pytest.fixture
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(documents, "PIECE", 64)


TEXTS = st.lists(
    st.text(st.sampled_from("ab €\n\r\t<|endoftext|>🙂"), max_size=150).map(str.encode),
    min_size=1,
    max_size=8,
)


@pytest.mark.usefixtures("small_pieces")
@example(texts=[b"<" * 68, b"<<"], block=1)
@settings(max_examples=300, deadline=None)
@given(texts=TEXTS, block=st.integers(1, 200))
def test_documents_do_not_depend_on_how_a_file_is_read(texts: list[bytes], block: int) -> None:
    text = b"\n<|endoftext|>\n".join(texts)
    blocks = iter([text[first : first + block] for first in range(0, len(text), block)])
    pieces = list(documents.of_blocks(blocks))
    joined = b"".join(piece.text + (b"\0" if piece.last else b"") for piece in pieces)
    assert joined.split(b"\0")[:-1] == SEPARATOR.split(text)
    assert max(len(piece.text) for piece in pieces) <= documents.PIECE + documents.LONGEST_SEPARATOR
    assert pieces == list(documents.of_text(text))


@pytest.mark.usefixtures("small_pieces")
@settings(max_examples=200, deadline=None)
@given(text=st.text(st.sampled_from("abc €🙂"), min_size=100, max_size=400))
def test_no_piece_ends_inside_a_character(text: str) -> None:
    pieces = [piece.text.decode() for piece in documents.of_text(text.encode())]
    assert "".join(pieces) == text


@pytest.mark.usefixtures("small_pieces")
def test_a_long_text_is_cut_before_a_space_between_two_words() -> None:
    pieces = list(documents.of_text(b"some words,  and\n\n more of them " * 20))
    assert len(pieces) > 5
    for before, after in itertools.pairwise(pieces):
        assert not before.text[-1:].isspace()
        assert after.text[:1] == b" "
        assert not after.text[1:2].isspace()
