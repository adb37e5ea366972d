"""Records in tables: CSV and Parquet."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from doctor.extras import how_to_add
from trainer import file_kinds
from trainer.data.documents import Piece
from trainer.data.fields import FIELDS, field_of, nested, not_a_string, text
from trainer.data.instructions import TEXT, Reading, Tally, documents
from trainer.data.messages import NotAConversationError
from trainer.data.opening import Source
from trainer.data.recognition import may_be_conversations
from trainer.errors import UserError

DELIMITERS = ",;\t|"
EXCEL_HINT = re.compile(r"sep=(.)\r?\n")  # a first line that Excel reads


def csv_pieces(source: Source, reading: Reading, tally: Tally) -> Iterator[Piece]:
    """One document per row. The first line names the columns."""
    field = reading.field
    csv.field_size_limit(2**31 - 1)
    path, line = source.path.absolute(), 0
    try:
        with source.open() as file:
            beginning = file.read(file_kinds.BEGINNING).decode("utf-8", "replace")
        with source.open_text() as lines:
            hint = EXCEL_HINT.match(beginning)
            if hint:
                lines.readline()
            rows = csv.reader(
                lines, delimiter=hint[1] if hint else _delimiter(beginning, source.suffix, field), strict=True
            )
            names = next(rows, [])
            _check_header(names, str(path))
            column = None
            if not reading.instructions or not reading.recognizes(dict.fromkeys(names, "")):
                column = names.index(field_of(names, field, f"{path}, its first line"))
            for row in rows:
                line = rows.line_num
                if row and len(row) != len(names):
                    raise UserError(
                        f"{path}, line {line} has {len(row)} columns, but the header has {len(names)}. "
                        "A text that contains the delimiter needs double quotes around it."
                    )
                if row and column is None:
                    record = dict(zip(names, row, strict=True))
                    conversation = documents(record, f"{path}, line {line}", reading, tally)
                    yield from (replace(piece, where=f"line {line}") for piece in conversation or ())
                elif row and column is not None:
                    tally.shapes[TEXT] += 1
                    yield from text(row[column], f"line {line}")
    except UnicodeDecodeError as error:
        raise UserError(
            f"{path} is not valid CSV in UTF-8 after line {line}: {file_kinds.not_utf8(error.object)}"
        ) from None
    except NotAConversationError as error:
        raise UserError(f"{path}, its first line: {error}.") from None
    except csv.Error as error:
        raise UserError(
            f"{path} is not valid CSV in UTF-8 after line {line} ({error}). Correct it there."
        ) from None


def _delimiter(beginning: str, suffix: str, field: str | None) -> str:
    """The delimiter of a table: the one whose header has the text field, else the most columns, else the suffix's own."""
    own = "\t" if suffix == ".tsv" else ","
    found = own, (False, 1)
    for delimiter in (own, *DELIMITERS.replace(own, "")):
        names = next(csv.reader(io.StringIO(beginning, newline=""), delimiter=delimiter), [])
        fits = any(name in names for name in ([field] if field else FIELDS)), len(names)
        if fits > found[1]:
            found = delimiter, fits
    return found[0]


def _check_header(names: list[str], path: str) -> None:
    if len(names) == 1 and re.search(r"[;\t]", names[0]):
        raise UserError(
            f"{path}: its first line is one column, {names[0]!r}, but seems to name several. Write the table with one "
            "delimiter (comma, semicolon or tab), and without quotes around a whole line."
        )


def parquet_pieces(source: Source, reading: Reading, tally: Tally) -> Iterator[Piece]:
    """One document per row."""
    path = source.path.absolute()
    try:
        import pyarrow
        from pyarrow.parquet import ParquetFile
    except ImportError:
        raise UserError(
            f"{path} is a Parquet file. Reading it needs the package pyarrow, which is not installed. "
            f"To install it:\n  {how_to_add('parquet')}"
        ) from None
    try:
        with ParquetFile(source.path) as file:
            names = file.schema_arrow.names
            if reading.instructions and may_be_conversations(names, reading.format):
                yield from _conversations(file, str(path), reading, tally)
                return
            name = _column(file.schema_arrow, reading.field, str(path))
            row = 0
            for batch in file.iter_batches(batch_size=256, columns=[name]):
                for record in batch.to_pylist():
                    tally.shapes[TEXT] += 1
                    yield from _at(f"row {row}", str(path), nested(record, name), name)
                    row += 1
    except pyarrow.ArrowException as error:
        raise UserError(
            f"{path} is not a valid Parquet file, or is incomplete: {error}. Download or write it again."
        ) from None
    except UnicodeDecodeError as error:
        raise UserError(
            f"{path} contains strings that are not UTF-8: {file_kinds.not_utf8(error.object)}"
        ) from None


def _conversations(file: Any, path: str, reading: Reading, tally: Tally) -> Iterator[Piece]:
    row, name = 0, None
    for batch in file.iter_batches(batch_size=256):
        for record in batch.to_pylist():
            conversation = documents(record, f"{path}, row {row}", reading, tally)
            if conversation is None:
                name = name or _column(file.schema_arrow, reading.field, path)
                tally.shapes[TEXT] += 1
                conversation = _at(f"row {row}", path, nested(record, name), name)
            yield from (replace(piece, where=f"row {row}") for piece in conversation)
            row += 1


def _at(place: str, path: str, value: Any, name: str) -> Iterator[Piece]:
    for piece in text(value, f"{path}, {place}", name):
        yield Piece(piece.text, piece.last, place)


def _column(schema: Any, field: str | None, where: str) -> str:
    strings = list(_text_columns(schema))
    name = field_of(schema.names, field, where, strings)
    if name not in strings:
        kind = str(schema.field(name).type).replace("\n", " ")[:60]
        raise not_a_string(kind, name, where, schema.names, strings)
    return name


def _text_columns(fields: Any, prefix: str = "") -> Iterator[str]:
    """The columns that hold strings or bytes, those inside structs as `outer.inner`."""
    from pyarrow import types

    for each in fields:
        kind = each.type.value_type if types.is_dictionary(each.type) else each.type
        if types.is_struct(kind):
            yield from _text_columns(kind, f"{prefix}{each.name}.")
        elif types.is_null(kind) or re.fullmatch(r"(large_)?(string|binary)(_view)?", str(kind)):
            yield f"{prefix}{each.name}"
