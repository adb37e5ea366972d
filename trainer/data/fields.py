"""Which field of a record holds the text, and what to do if none does."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

from trainer import file_kinds
from trainer.data.documents import Piece, cut
from trainer.errors import UserError

FIELDS = ("text", "content", "body", "document", "article", "passage")  # in order of preference
# Fields of instruction data: lists of turns, and pairs of a question and its answer.
TURNS = ("messages", "conversations", "conversation", "dialogue", "dialog", "turns")
PAIRS = (
    ("instruction", "output"),
    ("instruction", "response"),
    ("prompt", "completion"),
    ("prompt", "response"),
    ("prompt", "chosen"),
    ("question", "answer"),
    ("query", "response"),
    ("input", "output"),
    ("chosen", "rejected"),
)
INSTRUCTION_DATA = (
    "These look like instruction data of a form that is not read here. Known forms are messages with role and content (or from "
    "and value), instruction and output, prompt and completion; data.format: text (--data-format) reads none of them."
)
DEPTH = 8  # of nested records that are searched for strings


def field_of(names: list[str], chosen: str | None, where: str, strings: Collection[str] | None = None) -> str:
    """The name of the text field: `chosen`, else the first of FIELDS that exists, else the only field.

    Args:
        names: the fields of the record; `chosen` may also be a nested field, which is in `strings`.
        strings: the fields that hold strings, nested ones as `outer.inner`; None for all of `names`.
    """
    strings = names if strings is None else strings
    instructions = is_instruction_data(names, strings)
    only = names if len(names) == 1 and not instructions else []
    candidates = [*FIELDS, *only] if chosen is None else [chosen]
    for name in candidates:
        if names.count(name) > 1:
            raise UserError(
                f"{where}: the field {name!r} exists {names.count(name)} times. Rename all but one."
            )
        if name in names or name in strings:
            return name
    wanted = f"a field {chosen!r}" if chosen is not None else f"one of the fields {', '.join(FIELDS)}"
    about = f"{INSTRUCTION_DATA} " if instructions and chosen is None else ""
    raise UserError(
        f"{where}: looked for {wanted}, found {', '.join(map(str, names)) or 'no field'}. "
        f"{about}{_choice(names, strings)}"
    )


def is_instruction_data(names: Collection[str], strings: Collection[str]) -> bool:
    lower = {str(name).lower() for name in names}
    turns = any(str(name).lower() in TURNS and name not in strings for name in names)
    return turns or any(lower.issuperset(pair) for pair in PAIRS)


def not_a_string(found: str, name: str, where: str, names: list[str], strings: Collection[str]) -> UserError:
    """The error for a field that does not hold text.

    Args:
        found: what it holds.
    """
    about = f"{INSTRUCTION_DATA} " if is_instruction_data([name], strings) else ""
    return UserError(
        f"{where}: the text field {name!r} contains {found}, not a string. {about}{_choice(names, strings)}"
    )


def strings_in(record: dict[str, Any], prefix: str = "", depth: int = DEPTH) -> Iterator[str]:
    """The fields of a record that hold strings, those of nested records as `outer.inner`."""
    for name, value in record.items():
        if isinstance(value, str):
            yield f"{prefix}{name}"
        elif isinstance(value, dict) and depth:
            yield from strings_in(value, f"{prefix}{name}.", depth - 1)


def nested(record: Any, name: str) -> Any:
    """The value of a field, or of a nested field `outer.inner`; None if a record on the way is missing.

    Raises:
        KeyError: there is no such field.
    """
    if record is None:
        return None
    if not isinstance(record, dict):
        raise KeyError(name)
    if name in record:
        return record[name]
    outer, dot, inner = name.partition(".")
    while dot and outer not in record:  # a name may contain dots
        more, dot, inner = inner.partition(".")
        outer = f"{outer}.{more}"
    return nested(record[outer], inner)


def text(value: str | bytes | None, where: str, name: str = "text") -> Iterator[Piece]:
    """The text of a field in pieces; none for None.

    Raises:
        UserError: it is bytes that are not UTF-8.
    """
    if value is None:
        return
    if isinstance(value, bytes):
        try:
            value.decode("utf-8")
        except UnicodeDecodeError:
            raise UserError(
                f"{where}: the field {name!r} contains bytes that are not UTF-8 text: {file_kinds.not_utf8(value)}"
            ) from None
    content = value if isinstance(value, bytes) else value.encode("utf-8", "replace")
    for piece in cut(content, 0):
        yield Piece(piece.text, piece.last, where)


def _choice(names: list[str], strings: Collection[str]) -> str:
    if not strings:
        return "No field contains strings."
    if list(strings) == names:
        return "Choose with data.text_field (--text-field)."
    return f"Fields with strings, for data.text_field (--text-field): {', '.join(map(str, strings))}."
