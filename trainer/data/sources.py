"""The files of a data set, and the documents in them, read in pieces so that no file has to fit in memory."""

from __future__ import annotations

import csv
import json
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from doctor.extras import how_to_add
from trainer.errors import UserError
from trainer.say import Say

MARK = b"<|endoftext|>"
LONGEST_SEPARATOR = len(b"\r\n" + MARK + b"\r\n")
PIECE = 1 << 18  # approximate bytes of text in a piece
BOM = b"\xef\xbb\xbf"
FIELDS = ("text", "content", "body", "document", "article", "passage")  # in order of preference
SPACE = b" \t\r\n"


@dataclass(frozen=True)
class Source:
    """One file. `name` is its path relative to the data set's folder, with forward slashes."""

    path: Path
    name: str
    size: int
    mtime_ns: int

    @classmethod
    def of(cls, path: Path, name: str) -> Source:
        status = path.stat()
        return cls(path, name, status.st_size, status.st_mtime_ns)


@dataclass(frozen=True)
class Piece:
    """The text of a document, or a part of a long document.

    Attributes:
        last: the document ends with this piece.
        where: the position in the file, for messages.
    """

    text: bytes
    last: bool
    where: str


def find(path: Path, say: Say) -> list[Source]:
    """The file itself, or all files of a known kind below the folder, sorted by name. Hidden files are skipped.

    Raises:
        UserError: the path does not exist, cannot be read, or contains no data file.
    """
    try:
        if not path.is_dir():
            return [Source.of(path, path.name)]
        below = sorted(
            (file.relative_to(path).as_posix(), file) for file in path.rglob("*") if file.is_file()
        )
        visible = [(name, file) for name, file in below if not re.search(r"(^|/)\.", name)]
        found = [Source.of(file, name) for name, file in visible if file.suffix.lower() in KINDS]
    except FileNotFoundError:
        raise UserError(
            f"No data set at {path.absolute()}. Set data.dataset_file (--dataset-file) to a text file, or to a folder of "
            "text files."
        ) from None
    except OSError as error:
        raise UserError(f"The data set {path.absolute()} cannot be read: {error.strerror}.") from error
    others = Counter(file.suffix for _, file in visible if file.suffix.lower() not in KINDS)
    listed = ", ".join(f"{count} {suffix or 'without a suffix'}" for suffix, count in sorted(others.items()))
    if not found:
        raise UserError(
            f"The folder {path.absolute()} contains no data files: looked for {', '.join(KINDS)}, found "
            f"{listed or 'no file'}."
        )
    if others:
        say(f"INFO: files of other kinds in {path} are skipped: {listed}.")
    return found


def pieces(source: Source, field: str | None) -> Iterator[Piece]:
    """The documents of a file, in order.

    Args:
        field: name of the field or column with the text; None to detect it.

    Raises:
        UserError: the file cannot be read, or its content does not match its suffix.
    """
    suffix = source.path.suffix.lower()
    read = NAMED_ONLY.get(suffix) or KINDS.get(suffix, _text)
    try:
        yield from read(source.path, field)
    except OSError as error:
        raise UserError(f"{source.path.absolute()} cannot be read: {error.strerror or error}.") from error


def _text(path: Path, field: str | None) -> Iterator[Piece]:
    with path.open("rb") as file:
        yield from _documents(iter(lambda: file.read(PIECE), b""))


def documents(text: bytes) -> Iterator[Piece]:
    """The documents of a text, separated by <|endoftext|>."""
    return _documents(iter([text]))


def _documents(blocks: Iterator[bytes]) -> Iterator[Piece]:
    rest, done, more = b"", 0, True  # `done`: bytes before `rest`
    while more:
        block = next(blocks, b"")
        more = bool(block)
        rest += block
        if not done and rest.startswith(BOM):
            rest, done = rest[len(BOM) :], len(BOM)
        start = 0
        for begin, end in _separators(rest):
            if more and end + 2 > len(rest):
                break  # the line end after the mark may be in the next block
            yield from _cut(rest[start:begin], done + start)
            start = end
        while more and is_long(rest, start):
            end = boundary(rest, start)
            yield Piece(rest[start:end], False, f"byte {done + start}")
            start = end
        rest, done = rest[start:], done + start
    yield from _cut(rest, done)


def _separators(text: bytes) -> Iterator[tuple[int, int]]:
    """The start and end of each separator: the mark, with the line end before and after it."""
    end = 0
    while (mark := text.find(MARK, end)) >= 0:
        line_ends = (b"\r\n", b"\n", b"")
        begin = mark - next(len(line) for line in line_ends if text.endswith(line, end, mark))
        end = mark + len(MARK)
        end += next(len(line) for line in line_ends if text.startswith(line, end))
        yield begin, end


def _cut(document: bytes, offset: int) -> Iterator[Piece]:
    """A document, or the rest of one, cut into pieces."""
    start = 0
    while is_long(document, start):
        end = boundary(document, start)
        yield Piece(document[start:end], False, f"byte {offset + start}")
        start = end
    yield Piece(document[start:], True, f"byte {offset + start}")


def is_long(text: bytes, start: int) -> bool:
    return len(text) - start > PIECE + LONGEST_SEPARATOR


def boundary(text: bytes, start: int) -> int:
    """Where to cut a long text without changing its tokens: before a single space between two words.

    Without such a space, before any white space; without white space, between two characters.
    """
    first, end = start + PIECE // 2, start + PIECE
    while (end := text.rfind(b" ", first, end)) >= 0:
        if text[end - 1] not in SPACE and text[end + 1] not in SPACE:
            return end
    end = max(text.rfind(bytes([space]), first, start + PIECE) for space in SPACE)
    if end >= 0:
        return end
    end = start + PIECE
    while end > start + PIECE - 4 and text[end] & 0xC0 == 0x80:
        end -= 1
    return end


def _json_lines(path: Path, field: str | None) -> Iterator[Piece]:
    """One JSON object or string per line."""
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            where = f"line {number}"
            line = line.removeprefix(BOM) if number == 1 else line
            if not line.strip():
                continue
            try:
                record = json.loads(line)
            except ValueError as error:
                raise UserError(f"{path.absolute()}, {where} is not valid JSON ({error}).") from None
            if isinstance(record, dict):
                field = field_of(list(record), field, f"{path.absolute()}, {where}")
                record = record[field]
            yield from _record(record, path, where)


def _csv(path: Path, field: str | None) -> Iterator[Piece]:
    csv.field_size_limit(2**31 - 1)
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = csv.reader(file, "excel-tab" if path.suffix.lower() == ".tsv" else "excel", strict=True)
        try:
            names = next(rows, [])
            column = names.index(field_of(names, field, f"{path.absolute()}, its first line"))
            for row in rows:
                if row and len(row) != len(names):
                    raise UserError(
                        f"{path.absolute()}, line {rows.line_num} has {len(row)} columns, but the header has "
                        f"{len(names)}."
                    )
                if row:
                    yield from _record(row[column], path, f"line {rows.line_num}")
        except (csv.Error, UnicodeDecodeError) as error:
            raise UserError(
                f"{path.absolute()} is not valid CSV in UTF-8 after line {rows.line_num} ({error})."
            ) from None


def _parquet(path: Path, field: str | None) -> Iterator[Piece]:
    try:
        import pyarrow
        from pyarrow.parquet import ParquetFile
    except ImportError:
        raise UserError(
            f"{path.absolute()} is a Parquet file. Reading it needs the package pyarrow, which is not installed. "
            f"To install it:\n  {how_to_add('parquet')}"
        ) from None
    try:
        with ParquetFile(path) as file:
            column = field_of(file.schema_arrow.names, field, str(path.absolute()))
            row = 0
            for batch in file.iter_batches(batch_size=256, columns=[column]):
                for record in batch.column(0).to_pylist():
                    yield from _record(record, path, f"row {row}")
                    row += 1
    except pyarrow.ArrowException as error:
        raise UserError(
            f"{path.absolute()} is not a valid Parquet file, or is incomplete: {error}."
        ) from None


def _record(value: Any, path: Path, where: str) -> Iterator[Piece]:
    if value is None:
        return
    if not isinstance(value, str):
        raise UserError(
            f"{path.absolute()}, {where}: the text field contains {type(value).__name__} {str(value)[:40]!r}, not a "
            "string. Choose another field with data.text_field (--text-field)."
        )
    for piece in _cut(value.encode("utf-8", "replace"), 0):
        yield Piece(piece.text, piece.last, where)


def field_of(names: list[str], chosen: str | None, where: str) -> str:
    """The name of the text field: `chosen`, else the first of FIELDS that exists, else the only field."""
    candidates = [*FIELDS, *(names if len(names) == 1 else [])] if chosen is None else [chosen]
    for name in candidates:
        if name in names:
            return name
    wanted = f"a field {chosen!r}" if chosen is not None else f"one of the fields {', '.join(FIELDS)}"
    raise UserError(
        f"{where}: looked for {wanted}, found {', '.join(names) or 'no field'}. "
        "Choose with data.text_field (--text-field)."
    )


# Read when named itself. In a folder, a .json file may be anything.
NAMED_ONLY = {".json": _json_lines}
KINDS: dict[str, Callable[[Path, str | None], Iterator[Piece]]] = {
    ".txt": _text,
    ".text": _text,
    ".jsonl": _json_lines,
    ".ndjson": _json_lines,
    ".csv": _csv,
    ".tsv": _csv,
    ".parquet": _parquet,
}
