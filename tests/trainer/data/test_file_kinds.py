"""Files of many kinds: compressed, in other encodings and layouts, or not training text at all."""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import itertools
import json
import lzma
import os
import pickle
import re
import struct
import sys
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from trainer import data, file_kinds
from trainer.config import DataSection
from trainer.data import json_records, sources
from trainer.data.instructions import Reading, Tally
from trainer.errors import UserError
from trainer.models import chat_template
from trainer.models.tokenizer import ByteTokenizer

TEXTS = ["Grüße,\nan alle 🙂", 'says "no", twice', "x" * 3000]
RECORDS = [{"id": number, "text": text} for number, text in enumerate(TEXTS)]
LINES = "\n".join(json.dumps(record, ensure_ascii=False) for record in RECORDS)


def table(delimiter: str) -> str:
    file = io.StringIO()
    csv.writer(file, delimiter=delimiter).writerows([["id", "text"], *enumerate(TEXTS)])
    return file.getvalue()


def zstd(content: bytes) -> bytes:
    pyarrow = pytest.importorskip("pyarrow")
    compressed: bytes = pyarrow.compress(content, codec="zstd", asbytes=True)
    return compressed


def parquet(columns: Any) -> bytes:
    pyarrow = pytest.importorskip("pyarrow")
    file = io.BytesIO()
    pytest.importorskip("pyarrow.parquet").write_table(pyarrow.table(columns), file)
    return file.getvalue()


def zipped(*names: str, first: bytes = b"") -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        if first:
            archive.writestr("mimetype", first)
        for name in names:
            archive.writestr(name, "content")
    return file.getvalue()


def tarred() -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("a.txt"), io.BytesIO())
    return file.getvalue()


def read(path: Path, field: str | None = None, **options: Any) -> list[str]:
    found = [""]
    for source in sources.find(path, lambda message: None, Reading(field), **options):
        for piece in sources.pieces(source, Reading(field), Tally()):
            found[-1] += piece.text.decode()
            if piece.last:
                found.append("")
    assert not found[-1]
    return found[:-1]


COMPRESS: dict[str, Callable[[bytes], bytes]] = {
    "": lambda content: content,
    ".gz": gzip.compress,
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
    ".zst": zstd,
}
ENCODINGS = ("utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32")
LAYOUTS = {
    "d.jsonl": LINES,
    "d.json": json.dumps(RECORDS),
    "indented.json": json.dumps(RECORDS, indent=2, ensure_ascii=False),
    "lines.json": LINES,
    "one-after-another.json": "\n".join(json.dumps(record, indent=1) for record in RECORDS),
    "strings.json": json.dumps(TEXTS),
    "d.csv": table(","),
    "semicolon.csv": table(";"),
    "tab.csv": table("\t"),
    "excel.csv": f"sep=;\r\n{table(';')}",
    "d.tsv": table("\t"),
    "comma.tsv": table(","),
    "d.txt": "<|endoftext|>".join(TEXTS),
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("suffix", COMPRESS)
def test_compressed_files_contain_the_same_documents(tmp_path: Path, layout: str, suffix: str) -> None:
    path = tmp_path / (layout + suffix)
    path.write_bytes(COMPRESS[suffix](LAYOUTS[layout].encode()))
    assert read(path) == TEXTS
    assert read(tmp_path) == TEXTS


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("encoding", ENCODINGS)
def test_files_in_any_unicode_encoding_contain_the_same_documents(
    tmp_path: Path, layout: str, encoding: str
) -> None:
    path = tmp_path / layout
    path.write_bytes(LAYOUTS[layout].encode(encoding))
    assert read(path) == TEXTS


@pytest.mark.parametrize(
    "text",
    [
        "Привет, мир!\n",
        "שלום לכולם\n",
        "吾輩は猫である。\n名前はまだ無い。",
        "naïve café\n",
    ],
)
@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_utf_16_without_a_byte_order_mark_is_recognized_in_other_scripts(
    tmp_path: Path, text: str, encoding: str
) -> None:
    (tmp_path / "d.txt").write_bytes((text * 30).encode(encoding))
    assert read(tmp_path / "d.txt") == [text * 30]


@pytest.mark.parametrize(
    "content", [b"one\0two " * 9, b"plain", "Быть".encode() * 9, "Быть\0\0\0".encode() * 9, b""]
)
def test_utf_8_is_not_mistaken_for_utf_16(content: bytes) -> None:
    assert file_kinds.encoding(content) == "utf-8"


def test_a_folder_without_data_names_the_kind_of_its_first_file(tmp_path: Path) -> None:
    (tmp_path / "a.docx").write_bytes(zipped("[Content_Types].xml", "word/document.xml"))
    with pytest.raises(
        UserError, match=r"found 1 \.docx\. a\.docx is a Word document \(\.docx\)\. Save its text"
    ):
        sources.find(tmp_path, print)


def test_the_content_decides_if_the_suffix_is_missing_or_wrong(tmp_path: Path) -> None:
    contents = {
        "blob": parquet({"text": TEXTS}),
        "d.jsonl.gz": LINES.encode(),  # a browser decompressed it
        "d.jsonl": gzip.compress(LINES.encode()),
        "two-members.jsonl.gz": gzip.compress(LINES.encode() + b"\n")[:] + gzip.compress(b'"last"'),
    }
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
        assert read(tmp_path / name)[:3] == TEXTS


def test_a_folder_of_all_kinds_is_read_and_skipped_files_are_named(tmp_path: Path) -> None:
    for number, (layout, suffix) in enumerate(itertools.product(LAYOUTS, COMPRESS)):
        content = COMPRESS[suffix](LAYOUTS[layout].encode(ENCODINGS[number % len(ENCODINGS)]))
        (tmp_path / f"{number}-{layout}{suffix}").write_bytes(content)
    (tmp_path / "p.parquet").write_bytes(parquet({"text": TEXTS}))
    for name in ("report.pdf", "archive.zip", "data.tar.gz", "photo.jpg"):
        (tmp_path / name).write_bytes(b"%PDF-1.7")
    (tmp_path / "dataset_info.json").write_text('{"features": {}}', encoding="utf-8")
    said: list[str] = []
    found = sources.find(tmp_path, said.append)
    assert len(found) == len(LAYOUTS) * len(COMPRESS) + 1
    assert said == [
        f"INFO: files of other kinds in {tmp_path} are skipped: 1 .gz, 1 .jpg, 1 .json without a text, 1 .pdf, 1 .zip."
    ]
    assert read(tmp_path) == TEXTS * len(found)


def test_nested_fields_have_dotted_names(tmp_path: Path) -> None:
    records = [{"id": 1, "data": {"text": text, "more": {"a.b": text}}} for text in TEXTS] + [{"data": None}]
    (tmp_path / "d.parquet").write_bytes(parquet({"data": [record["data"] for record in records]}))
    (tmp_path / "d.jsonl").write_text("\n".join(map(json.dumps, records)), encoding="utf-8")
    for name, field in itertools.product(("d.parquet", "d.jsonl"), ("data.text", "data.more.a.b")):
        assert read(tmp_path / name, field) == TEXTS
        with pytest.raises(UserError, match=r"--text-field\): data\.text, data\.more\.a\.b\."):
            read(tmp_path / name)


@pytest.mark.parametrize("kind", ["string", "large_string", "binary", "large_binary", "dictionary"])
def test_parquet_columns_of_strings_and_of_utf8_bytes_are_text(tmp_path: Path, kind: str) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    of = (
        pyarrow.dictionary(pyarrow.int32(), pyarrow.string())
        if kind == "dictionary"
        else getattr(pyarrow, kind)()
    )
    values = [text.encode() if "binary" in kind else text for text in TEXTS]
    (tmp_path / "d.parquet").write_bytes(parquet({"text": pyarrow.array([*values, None], of)}))
    assert read(tmp_path / "d.parquet") == TEXTS


TEMPLATE = chat_template.choose(None, ByteTokenizer())
CHAT = {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]}
SHARE = {"conversations": [{"from": "human", "value": "Hi"}], "source": "x"}
ALPACA = {"instruction": "Say hi", "input": "", "output": "hi"}
PDF = b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n"
PNG = b"\x89PNG\r\n\x1a\n" + bytes(20)
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"
ANY = "d.jsonl d.csv d.txt d.parquet d.json.gz anything"
REFUSED: list[tuple[str, bytes | Callable[[], bytes], str]] = [
    (ANY, POINTER, "is a git-lfs pointer, .* `git lfs pull`"),
    (ANY, PDF, r"is a PDF document\. Extract its text"),
    (ANY, zipped("a.txt"), r"is a zip archive\. Extract it"),
    (ANY, zipped("[Content_Types].xml", "word/document.xml"), r"a Word document .* \.txt file in UTF-8"),
    (ANY, zipped("[Content_Types].xml", "xl/workbook.xml"), "an Excel workbook .* CSV in UTF-8"),
    (ANY, zipped(first=b"application/vnd.oasis.opendocument.text"), "an OpenDocument file"),
    (ANY, zipped(first=b"application/epub+zip"), "an EPUB book"),
    (ANY, zipped("archive/data.pkl"), "a PyTorch file"),
    (ANY, tarred(), "a tar archive"),
    (ANY, pickle.dumps(RECORDS), "is a pickle"),
    (ANY, PNG, r"a PNG image\. Choose a file with text"),
    (ANY, b"7z\xbc\xaf\x27\x1c\0\4", "a 7z archive"),
    (ANY, b"Rar!\x1a\x07\1\0", "a RAR archive"),
    (ANY, b"\xff\xd8\xff\xe0\0\x10JFIF", "a JPEG image"),
    (ANY, b"SQLite format 3\0\x10\0", "an SQLite database"),
    (ANY, bytes(4000), "filled with zero bytes"),
    ("d.tar.gz d.tgz", gzip.compress(tarred()), "is a tar archive"),
    ("d.txt d.csv d.jsonl d.parquet", b"\n<!DOCTYPE html><html><body>Sign in", "is an HTML page"),
    ("d.txt.gz d.jsonl.gz", gzip.compress((LINES.encode() + b"\n") * 99)[:-20], "is incomplete or damaged"),
    ("d.txt.xz", lzma.compress(LINES.encode() * 99)[:-20], "is incomplete or damaged"),
    ("d.txt.bz2", bz2.compress(LINES.encode() * 99)[:-20], "is incomplete or damaged"),
    ("d.txt.zst", lambda: zstd(LINES.encode() * 99)[:-20], "is incomplete or damaged"),
    ("d.jsonl d.csv", b"text\ncaf\xe9 cr\xe8me\n", r"is not UTF-8 text: it looks like Latin-1 .*iconv"),
    ("d.jsonl d.csv", bytes(range(256)) * 9, "it is binary"),
    ("d.txt", "PowerShell\n".encode("utf-16")[:-1], r"is not valid utf-16.* Save it as UTF-8"),
    ("d.parquet.gz", lambda: gzip.compress(parquet({"text": TEXTS})), "Parquet file in gzip. Decompress it"),
    ("d.parquet", lambda: parquet({"text": [PNG]}), "contains bytes that are not UTF-8 text: it is a PNG image"),
    ("d.parquet", lambda: parquet({"text": [1, 2], "more": ["a", "b"]}), r"int64, not .*--text-field\): more\."),
    ("d.parquet", lambda: parquet({"n": [1, 2], "text": [[1], [2]]}), r"not a string\. No field contains strings"),
    ("d.parquet", lambda: parquet({"messages": [CHAT["messages"]]}), "instruction data of a form"),
    ("d.jsonl d.json", json.dumps(CHAT).encode(), "found messages.*instruction data of a form.*No field contains"),
    ("d.jsonl d.json", json.dumps(SHARE).encode(), r"instruction data of a form .*--text-field\): source\."),
    ("d.jsonl d.json", json.dumps([ALPACA]).encode(), "instruction data of a form.*--text-field"),
    ("d.csv", b"instruction,input,output\na,b,c\n", "instruction data.*--text-field"),
    ("d.jsonl", json.dumps({"prompt": "a", "completion": "b"}).encode(), "instruction data"),
    ("d.json", json.dumps({"version": 1, "data": RECORDS}).encode(), r"with the keys version, data.*jq -c \.data\[\]"),
    ("d.json", json.dumps({"data": RECORDS}, indent=1).encode(), r"record 1: one object .*jq -c \.data\[\]"),
    ("d.jsonl", b'{"q": "a", "answers": [{"a": 1}]}\n' * 2, r"line 1: looked for .* found q, answers\. .*: q\."),
    ("d.json", json.dumps(RECORDS, indent=1).encode()[:-900], "record 3 is not valid JSON .*Unterminated"),
    ("d.json", json.dumps(RECORDS, indent=1).encode()[:-2], "record 4 .*is the file complete"),
    ("d.json", json.dumps(RECORDS).encode() + b"{}", "more text after the end of the array"),
    ("d.json d.jsonl", b"[" * 99999, "is nested too deeply"),
    ("d.jsonl", b'{"text": ' * 99999, "is nested too deeply"),
    ("d.json", b"[[1, 2], [3]]", r"record 1: the record is list '\[1, 2\]', not an object or a string"),
    ("d.json", b'[{"text": 5, "title": "a"}]', r"contains int '5', not a string.*--text-field\): title\."),
    ("d.csv", b'"id;text"\n"1;a"\n', r"one column, 'id;text', but seems to name several"),
    ("d.csv d.tsv", b"text,text\na,b\n", "the field 'text' exists 2 times"),
    ("d.csv", b"text,id\na, b,1\n", "line 2 has 3 columns, .* needs double quotes"),
    ("d.csv", b"id;comment\n1;a\n", r"found id, comment\. Choose with"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [(name, content, words) for names, content, words in REFUSED for name in names.split()],
)
def test_a_file_that_is_not_training_text_is_named_with_advice(
    tmp_path: Path, name: str, content: bytes | Callable[[], bytes], words: str
) -> None:
    path = tmp_path / name
    path.write_bytes(content() if callable(content) else content)
    for tokens in (True, False):
        with pytest.raises(UserError, match=words) as error:
            read(path, any_bytes=tokens)
        assert str(path) in str(error.value)
        assert "tokenizer byte" not in str(error.value)
        assert len(str(error.value).splitlines()) == 1


def test_a_column_of_objects_next_to_the_text_is_ignored(tmp_path: Path) -> None:
    records = [{"text": text, "entities": [{"start": 0}]} for text in TEXTS]
    for content in (json.dumps(records[:1]), json.dumps(records[0]), "\n".join(map(json.dumps, records))):
        (tmp_path / "d.json").write_text(content, encoding="utf-8")
        assert read(tmp_path / "d.json")[0] == TEXTS[0]


def test_only_the_byte_tokenizer_accepts_bytes_in_another_encoding(tmp_path: Path) -> None:
    (tmp_path / "d.txt").write_bytes(b"caf\xe9 " * 40)
    with pytest.raises(UserError, match="Latin-1"):
        read(tmp_path / "d.txt")
    dataset = data.load(DataSection(dataset_file=tmp_path / "d.txt", max_length=8), ByteTokenizer(), print)
    assert 0xE9 in dataset.training.tokens


def test_zstd_without_pyarrow_says_how_to_install_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "d.jsonl.zst").write_bytes(b"\x28\xb5\x2f\xfd" + bytes(9))
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(
        UserError, match=r"compressed with zstd\. Reading it needs the package pyarrow.*\n.*install"
    ):
        read(tmp_path / "d.jsonl.zst")


def test_a_pipe_or_device_is_refused(tmp_path: Path) -> None:
    if not Path("/dev/null").is_char_device():
        pytest.skip("a POSIX device")
    with pytest.raises(UserError, match="is not a regular file"):
        sources.find(Path("/dev/null"), print)


def test_a_file_parsed_differently_is_tokenized_again(tmp_path: Path) -> None:
    path, cache = tmp_path / "d.csv", tmp_path / "cache"
    settings = DataSection(dataset_file=path, max_length=8, eval_fraction=0, cache_dir=cache)
    said: list[str] = []
    for text in ("id;text\n1;a word or two\n", "id;text\n1;a word or six\n".encode("utf-16")):
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        data.load(settings, ByteTokenizer(), said.append)
    manifest = next(cache.glob("*/manifest.json"))
    assert '"kind": "CSV, utf-16"' in manifest.read_text(encoding="utf-8")
    manifest.write_text(
        manifest.read_text(encoding="utf-8").replace("CSV, utf-16", "CSV, utf-8"), encoding="utf-8"
    )
    os.utime(path, (0, 0))  # a file that has not changed is not read again
    data.load(settings, ByteTokenizer(), said.append)
    assert any(
        "d.csv is read as CSV, utf-16 now, as CSV, utf-8 when it was tokenized" in line for line in said
    )


@given(
    records=st.lists(
        st.recursive(
            st.none() | st.booleans() | st.floats(allow_nan=False) | st.text(),
            lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
            max_leaves=9,
        ),
        max_size=6,
    ),
    indent=st.sampled_from([None, 1]),
    array=st.booleans(),
)
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_json_values_do_not_depend_on_where_blocks_end(
    records: list[Any], indent: int | None, array: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(json_records, "BLOCK", 3)
    records = [{"a": 1}, *records]
    one_by_one = "\n".join(json.dumps(record, indent=indent) for record in records)
    text = json.dumps(records, indent=indent) if array else one_by_one
    values = json_records._Values(io.StringIO(text))
    assert [value for (value,) in iter(values.next, None)] == records


MESSY = st.one_of(
    st.binary(max_size=300),
    st.text(max_size=200).flatmap(lambda text: st.sampled_from([text.encode(name, "replace") for name in (*ENCODINGS, "latin-1")])),
    st.builds(
        lambda content, compress, cut: compress(content.encode())[: len(content) + 40 - cut],
        st.sampled_from([*LAYOUTS.values()]),
        st.sampled_from([*COMPRESS.values()]),
        st.integers(0, 60),
    ),
    st.builds(
        lambda place, byte: (whole := parquet({"text": TEXTS}))[: place % len(whole)] + byte + whole[place % len(whole) + 1 :],
        st.integers(0, 1 << 16),
        st.binary(min_size=1, max_size=1),
    ),
    st.builds(
        lambda values, prefix: prefix + b"".join(struct.pack("<I", value) for value in values),
        st.lists(st.integers(0, 2**32 - 1), max_size=20),
        st.sampled_from([PDF, PNG, POINTER, b"PAR1", b"\x1f\x8b\x08", b"BZh9", b"\x28\xb5\x2f\xfd", b"\xff\xfe", b"PK\3\4"]),
    ),
)  # fmt: skip
WAY_OUT = re.compile(
    r"\. (Choose|Convert|Correct|Decompress|Download|Extract|Save|Write|Fields|To download|No field|A text)"
)
NAMES = [f"d{suffix}{end}" for suffix in (".txt", ".jsonl", ".json", ".csv", ".tsv", ".parquet", "") for end in ("", ".gz", ".zst")]  # fmt: skip


@given(
    content=MESSY,
    name=st.sampled_from(NAMES),
    field=st.sampled_from([None, "text", "a.b"]),
    folder=st.booleans(),
    any_bytes=st.booleans(),
)
@example(content=b"\0 \0 \0", name="d.json", field=None, folder=True, any_bytes=False)
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_file_with_any_content_is_read_or_refused_with_its_path(
    tmp_path: Path, content: bytes, name: str, field: str | None, folder: bool, any_bytes: bool
) -> None:
    pytest.importorskip("pyarrow")
    (tmp_path / "files").mkdir(exist_ok=True)
    path = tmp_path / "files" / name
    path.write_bytes(content)
    try:
        reading = Reading(field, template=TEMPLATE)
        for source in sources.find(path.parent if folder else path, lambda message: None, reading, any_bytes):
            for piece in sources.pieces(source, reading, Tally()):
                assert isinstance(piece.text, bytes)
    except UserError as error:
        assert str(path.parent) in str(error)
        assert WAY_OUT.search(str(error))
    finally:
        path.unlink()
