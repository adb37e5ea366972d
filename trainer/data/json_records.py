"""Records in JSON: one per line, in an array, or one after another. No file has to fit in memory."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, BinaryIO, TextIO

from doctor.bounded import parse_json
from trainer import file_kinds
from trainer.data import labelled
from trainer.data.documents import Piece
from trainer.data.fields import FIELDS, field_of, nested, not_a_string, strings_in, text
from trainer.data.instructions import TEXT, Reading, Tally, documents, refuse_text
from trainer.data.messages import NotAConversationError, is_turn
from trainer.data.opening import BLOCK, Source, explained
from trainer.data.recognition import shape_of
from trainer.errors import UserError

WHITE_SPACE = re.compile(r"[ \t\r\n]*")
LONGEST = 1 << 30  # bytes or characters of a record
TOO_LONG = f"is longer than {LONGEST >> 30} GiB. Split this record, or train on its text as a .txt file."
LONGEST_LITERAL = 16  # characters: -Infinity, or two \uXXXX


def pieces(source: Source, reading: Reading, tally: Tally) -> Iterator[Piece]:
    """The documents of all records. A record is an object with messages or a text, a list of messages, or a string."""
    found, field = records(source), reading.field
    for place, record in found:
        where = f"{source.path.absolute()}, {place}"
        if isinstance(record, list) and any(map(is_turn, record)):
            record = {"messages": record}
        if isinstance(record, dict):
            try:
                conversation = documents(record, where, reading, tally)
                if conversation is not None:
                    yield from (replace(piece, where=place) for piece in conversation)
                    continue
                if field is None or not _has(record, field):
                    field = field_of(list(record), field, where, list(strings_in(record)))
                value = _string(record, field, where)
            except UserError:
                if place.endswith(" 1") and _is_at_end(found):
                    _refuse_wrapped(record, where)
                raise
        elif record is None or isinstance(record, str):
            refuse_text(reading, where)
            value = record
        else:
            raise UserError(
                f"{where}: the record is {_shown(record)}, not an object or a string. Write each record as one."
            )
        tally.shapes[TEXT] += 1
        for piece in text(value, where):
            yield Piece(piece.text, piece.last, place)


def records(source: Source) -> Iterator[tuple[str, Any]]:
    """Each record, with its place in the file."""
    with explained(source.path):
        if source.format == "JSON lines":
            with source.open() as lines:
                yield from _lines(lines, source)
        else:
            with source.open_text() as file:
                yield from _values(file, source)


def is_data(source: Source, reading: Reading) -> bool:
    """Whether a .json file contains records with a text. Other files, such as settings, are one object without a text."""
    try:
        found = [record for _, (_, record) in zip(range(2), records(source), strict=False)]
    except UserError:
        return True  # reading it as data explains the error
    if len(found) != 1 or not isinstance(found[0], dict) or _is_array(source):
        return bool(found)
    strings = set(strings_in(found[0]))
    if not strings.isdisjoint(FIELDS if reading.field is None else [reading.field]):
        return True
    try:
        return reading.instructions and shape_of(found[0]) is not None
    except NotAConversationError:
        return True  # reading it as data explains the error


def _is_array(source: Source) -> bool:
    with source.open() as file:
        return file.read(file_kinds.BEGINNING).lstrip().startswith(b"[")


def _has(record: dict[str, Any], field: str) -> bool:
    try:
        nested(record, field)
    except KeyError:
        return False
    return True


def _string(record: dict[str, Any], field: str, where: str) -> str | None:
    value = nested(record, field)
    if value is None or isinstance(value, str):
        return value
    raise not_a_string(_shown(value), field, where, list(record), list(strings_in(record)))


def _shown(value: Any) -> str:
    return f"{type(value).__name__} {str(value)[:40]!r}"


def _is_at_end(rest: Iterator[tuple[str, Any]]) -> bool:
    try:
        return next(rest, None) is None
    except UserError:
        return False


def _refuse_wrapped(record: dict[str, Any], where: str) -> None:
    """Refuse a file that is one object around a list of records, such as {"data": [...]}."""
    if labelled.matches(record):
        return
    for key, value in record.items():
        if isinstance(value, list) and value and isinstance(value[0], dict) and not _is_turn(value[0]):
            raise UserError(
                f"{where}: one object with the keys {', '.join(record)}, not records. Its key {key!r} contains a list of "
                f"records: write them one per line, for example with `jq -c .{key}[] OLD.json > NEW.jsonl`."
            )


def _is_turn(value: dict[str, Any]) -> bool:
    return "role" in value or "from" in value


def _lines(file: BinaryIO, source: Source) -> Iterator[tuple[str, Any]]:
    for number, line in enumerate(iter(lambda: file.readline(LONGEST + 1), b""), 1):
        if len(line) > LONGEST:
            raise UserError(f"{source.path.absolute()}, line {number} {TOO_LONG}")
        if line.strip():
            yield (
                f"line {number}",
                _parsed(lambda line=line: parse_json(line.decode("utf-8")), source, f"line {number}"),
            )


def _values(file: TextIO, source: Source) -> Iterator[tuple[str, Any]]:
    values = _Values(file)
    number = 0
    while True:
        number += 1
        found = _parsed(values.next, source, f"record {number}")
        if found is None:
            return
        yield f"record {number}", found[0]


def _parsed(parse: Any, source: Source, place: str) -> Any:
    where = f"{source.path.absolute()}, {place}"
    try:
        return parse()
    except UnicodeDecodeError as error:
        raise UserError(f"{where} is not UTF-8: {file_kinds.not_utf8(error.object)}") from None
    except ValueError as error:
        raise UserError(f"{where} is not valid JSON ({error}). Correct or remove it.") from None
    except RecursionError:
        raise UserError(f"{where} is nested too deeply. Correct or remove it.") from None


class _Values:
    """Parses a JSON array value by value, or values one after another."""

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self._text = ""
        self._at = 0
        self._begun = self._in_array = False

    def next(self) -> tuple[Any] | None:
        """The next value; None at the end.

        Raises:
            ValueError: what follows is not valid.
        """
        if not self._begun:
            self._begun, self._in_array = True, self._take("[")
            if self._in_array and self._take("]"):
                self._in_array = False
        elif self._in_array and not self._take(","):
            if not self._take("]"):
                raise ValueError("expected a comma or ] after the record before it; is the file complete?")
            self._in_array = False
            if self._next_character():
                raise ValueError("there is more text after the end of the array")
        if not self._in_array and not self._next_character():
            return None
        return (self._value(),)

    def _value(self) -> Any:
        self._next_character()
        while True:
            try:
                value, end = json.JSONDecoder().raw_decode(self._text, self._at)
            except json.JSONDecodeError as error:
                if not (self._is_cut_off(error) and self._read_more()):
                    raise
                continue
            if end >= len(self._text) - LONGEST_LITERAL and self._read_more():
                continue  # a number may continue in the next block: 1, 1.5 or 1e5
            self._at = end
            return value

    def _take(self, character: str) -> bool:
        if self._next_character() != character:
            return False
        self._at += 1
        return True

    def _next_character(self) -> str:
        while True:
            white = WHITE_SPACE.match(self._text, self._at)
            assert white, "it matches nothing, too"
            self._at = white.end()
            if self._at < len(self._text):
                return self._text[self._at]
            if not self._read_more():
                return ""

    def _read_more(self) -> bool:
        left = len(self._text) - self._at
        if left > LONGEST:
            raise ValueError(f"it {TOO_LONG}")
        block = self._file.read(max(BLOCK, left))  # a long value is parsed a few times only
        if block:
            self._text, self._at = self._text[self._at :] + block, 0
        return bool(block)

    def _is_cut_off(self, error: json.JSONDecodeError) -> bool:
        return error.msg.startswith("Unterminated string") or error.pos >= len(self._text) - LONGEST_LITERAL
