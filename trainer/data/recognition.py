"""Recognizes the shape of a record of instruction data by its fields."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from trainer.data import labelled
from trainer.data.conversation_fields import (
    LISTS,
    Record,
    from_exchanges,
    from_pair,
    from_turns,
    is_alpaca,
    is_empty_list,
    is_exchanges,
    is_messages,
    is_pair,
    is_sharegpt,
    names_of_pair,
    turns_of,
)
from trainer.data.messages import NotAConversationError, UnusableError, is_turn, message
from trainer.models.chat_template import Conversation

PAIRS = ". Train on it with --loss dpo or orpo, or preview it with --data-format preference"
# Fields of records that a next-token loss cannot use, or only without a part of them.
UNSUPPORTED = (
    ({"chosen", "rejected"}, f"preference data (chosen and rejected answers){PAIRS}"),
    ({"preferred_output", "non_preferred_output"}, f"preference data (preferred and other answers){PAIRS}"),
    ({"prompt", "completion", "label"}, "preference data (a completion and its label)"),
    ({"kto_tag"}, "preference data (an answer and its kto_tag)"),
    ({"prompt", "completions", "labels"}, "data with a label for each step"),
    ({"question", "choices"}, "data with choices for an answer"),
    ({"input_ids"}, "data in tokens"),
    ({"images"}, "data with images"),
    ({"image"}, "data with images"),
    ({"videos"}, "data with videos"),
    ({"audios"}, "data with recordings"),
)


@dataclass(frozen=True)
class Shape:
    """A form of records.

    Attributes:
        name: the value of data.format.
        fields: which fields it has, for messages.
        read: None for labelled segments, which are no conversation.
    """

    name: str
    fields: str
    matches: Callable[[Record], bool]
    read: Callable[[Record], Conversation] | None


def shape_of(record: Record, name: str = "auto") -> Shape | None:
    """The shape of a record; None if it is not instruction data.

    Args:
        name: the shape that it must have, or auto.

    Raises:
        NotAConversationError: it has another shape, or is data of a kind that cannot be trained on as it is.
    """
    known = [shape for shape in SHAPES if name in ("auto", shape.name)]
    for each in readings(record):
        if found := next((shape for shape in known if shape.matches(each)), None):
            break
    _refuse(record, found)
    if not found and name != "auto":
        raise NotAConversationError(
            f"data.format (--data-format) = {name}: looked for {' or '.join(shape.fields for shape in known)}, found "
            f"{', '.join(map(str, record)) or 'no field'}"
        )
    return found


def readings(record: Record) -> Iterator[Record]:
    """The record without fields that are null (tables have every column in every row), and with empty texts instead."""
    for names in (record, {str(key).lower(): value for key, value in record.items()}):
        yield {key: value for key, value in names.items() if value is not None}
        yield {key: "" if value is None else value for key, value in names.items()}


def _refuse(record: Record, found: Shape | None) -> None:
    """Refuse what is not one text and its answers."""
    names = {key for key, value in record.items() if value not in (None, [], "")}
    what = next((what for fields, what in UNSUPPORTED if fields <= names), None)
    turns = turns_of(record)
    # UltraFeedback's records have the whole conversation with the chosen answer, too.
    if (
        what
        and found
        and turns
        and {"chosen", "rejected"} <= names
        and message(turns[1][-1])[0]["role"] == "assistant"
    ):
        return
    if found is None and is_turn(record):
        raise NotAConversationError(
            "this is one message with a role. Write a conversation as one record, with a list of its messages; or read each "
            "message as a text with --data-format text"
        )
    if what and (found or not names & {"text", "content"}):
        raise NotAConversationError(
            f"this is {what}"
            if what.endswith(PAIRS)
            else f"this is {what}, which cannot be trained on with the loss of the next token"
        )


def conversation(record: Record, shape: Shape) -> Conversation:
    """The conversation in a record.

    Raises:
        NotAConversationError: the record is not what its fields promise.
        UnusableError: it has nothing to learn.
    """
    assert shape.read, "it is a conversation"
    found = shape.read(recognized(record, shape))
    answers = [i for i, each in enumerate(found.messages) if each["role"] == "assistant"]
    if not answers:
        raise UnusableError("no answer")
    if found.unlearned.issuperset(answers):
        raise UnusableError("every answer has the weight 0")
    if not answers_in(found):
        raise UnusableError("an empty answer")
    return found


def recognized(record: Record, shape: Shape) -> Record:
    """The reading of a record in which it has this shape."""
    return next(each for each in readings(record) if shape.matches(each))


def answers_in(talk: Conversation) -> list[int]:
    """The indices of the answers that are learned and not empty."""
    return [
        i
        for i, each in enumerate(talk.messages)
        if each["role"] == "assistant" and i not in talk.unlearned and not _is_empty(each)
    ]


def may_be_conversations(names: Sequence[str], format_name: str) -> bool:
    """Whether a table with these columns may contain instruction data."""
    return (
        format_name != "auto"
        or not {*LISTS, labelled.NAME}.isdisjoint(names)
        or names_of_pair(dict.fromkeys(names)) is not None
    )


def _is_empty(each: Mapping[str, Any]) -> bool:
    return not (each.get("content") or "").strip() and not each.get("tool_calls")


_MESSAGES = "a list of messages with role and content, named " + ", ".join(LISTS[:3])
SHAPES = (
    Shape("messages", _MESSAGES, is_messages, from_turns),
    Shape("sharegpt", "a list of messages with from and value, named conversations", is_sharegpt, from_turns),
    Shape("messages", _MESSAGES, is_exchanges, from_exchanges),
    Shape("alpaca", "instruction and output (or response), perhaps input", is_alpaca, from_pair),
    Shape(
        "prompt-completion",
        "a question and an answer, such as prompt and completion, question and answer, query and response",
        is_pair,
        from_pair,
    ),
    Shape(labelled.NAME, labelled.FIELDS, labelled.matches, None),
    Shape("messages", _MESSAGES, is_empty_list, lambda record: Conversation(())),
)
