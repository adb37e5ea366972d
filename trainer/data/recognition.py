"""Recognizes the shape of a record of instruction data by its fields, and turns it into a conversation."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from doctor.bounded import parse_json
from trainer.data import labelled
from trainer.data.messages import NotAConversationError, UnusableError, is_turn, message, tools
from trainer.models.chat_template import Conversation

Record = Mapping[str, Any]
LISTS = ("messages", "conversations", "conversation", "dialogue", "dialog", "turns", "contents", "chat")
QUESTIONS = ("instruction", "prompt", "question", "query", "input", "user", "human")
ANSWERS = (
    "output",
    "completion",
    "response",
    "answer",
    "answers",
    "assistant",
    "generation",
    "solution",
    "gpt",
    "bot",
)
EXTRAS = ("input", "context")  # more text of the question, in Alpaca's and Dolly's records
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
    turns = _turns_of(record)
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
        or _pair(dict.fromkeys(names)) is not None
    )


def _is_empty(each: Mapping[str, Any]) -> bool:
    return not (each.get("content") or "").strip() and not each.get("tool_calls")


def _turns_of(record: Record) -> tuple[str, list[Any]] | None:
    """The name and value of the first field that holds messages, perhaps as a JSON string."""
    for name in LISTS:
        value = record.get(name)
        if isinstance(value, str) and value.lstrip().startswith("[{"):
            with suppress(ValueError):
                value = parse_json(value)
        if isinstance(value, list) and any(map(is_turn, value)):
            return name, value
    return None


def messages_in(record: Record) -> list[Any] | None:
    """The messages of a record; None if it has none. OpenAI's preference data has them in its input."""
    inner = record.get("input")
    found = _turns_of(record) or (_turns_of(inner) if isinstance(inner, Mapping) else None)
    return found[1] if found else None


def prompt_in(record: Record) -> list[Any] | None:
    """The messages before an answer, from the fields of a record; None if it has no prompt."""
    turns = messages_in(record)
    if turns is not None:
        return turns
    name = next((name for name in QUESTIONS if record.get(name)), None)
    if name is None:
        return None
    earlier = [turn for exchange in _history(record) for turn in exchange]
    if isinstance(record[name], list):
        return [*earlier, *record[name]]
    return [*earlier, {"role": "user", "content": _question(record, name)}]


def _is_messages(record: Record) -> bool:
    found = _turns_of(record)
    return found is not None and "from" not in found[1][0]


def _is_sharegpt(record: Record) -> bool:
    found = _turns_of(record)
    return found is not None and "from" in found[1][0]


def _from_turns(record: Record) -> Conversation:
    found = _turns_of(record)
    assert found, "it was recognized by them"
    return made(found[1], system_in(record), record)


def system_in(record: Record) -> str | None:
    """The system prompt beside the messages: a string, or parts (Anthropic, Bedrock, Gemini)."""
    value = next(
        (
            record[key]
            for key in ("system", "system_prompt", "systemInstruction", "system_instruction")
            if record.get(key)
        ),
        None,
    )
    if value is None:
        return None
    content: str | None = message({"role": "system", "content": value})[0]["content"]
    return content


def made(turns: Sequence[Any], system: str | None, record: Record) -> Conversation:
    """The conversation of these messages, with the system prompt and the tools beside them."""
    read = [message(turn) for turn in turns]
    messages = [each for each, _ in read]
    learned = [is_learned for _, is_learned in read]
    if system and messages and messages[0]["role"] != "system":
        messages, learned = [{"role": "system", "content": system}, *messages], [True, *learned]
    functions = record.get("tools") or record.get("functions")
    return Conversation(
        tuple(messages),
        tools(functions),
        frozenset(i for i, is_learned in enumerate(learned) if not is_learned),
    )


def _is_exchanges(record: Record) -> bool:
    """Whether a field holds pairs of a question and an answer, as XTuner's and Firefly's do."""
    return _exchanges_of(record) is not None


def _exchanges_of(record: Record) -> list[Any] | None:
    for name in LISTS:
        value = record.get(name)
        if (
            isinstance(value, list)
            and value
            and all(isinstance(each, Mapping) and _pair(each) for each in value)
        ):
            return value
    return None


def _from_exchanges(record: Record) -> Conversation:
    exchanges = _exchanges_of(record)
    assert exchanges, "it was recognized by them"
    turns = [turn for each in exchanges for turn in _pair_turns(each)]
    return made(turns, system_in(exchanges[0]) or system_in(record), record)


def _pair(record: Record) -> tuple[str, str] | None:
    """The fields with the question and the answer. Of `input` and `instruction`, the latter is the question."""
    question = next((name for name in QUESTIONS if name in record), None)
    answer = next((name for name in ANSWERS if name in record), None)
    return (question, answer) if question and answer else None


def _is_alpaca(record: Record) -> bool:
    pair = _pair(record)
    return pair is not None and pair[0] == "instruction"


def _is_pair(record: Record) -> bool:
    return _pair(record) is not None


def _from_pair(record: Record) -> Conversation:
    pair = _pair(record)
    assert pair, "it was recognized by them"
    prompt = record[pair[0]]
    turns = [turn for before in _history(record) for turn in before]
    if not isinstance(prompt, list):
        return made([*turns, *_pair_turns(record)], system_in(record), record)
    # TRL's prompts of messages: answers in them are context.
    answer = _answer(record, pair[1])
    found = made([*turns, *prompt, *answer], system_in(record), record)
    return replace(found, unlearned=found.unlearned | frozenset(range(len(found.messages) - len(answer))))


def _answer(record: Record, name: str) -> list[Any]:
    value = record[name]
    return value if isinstance(value, list) else [{"role": "assistant", "content": _string(record, name)}]


def _pair_turns(record: Record) -> Iterator[Any]:
    pair = _pair(record)
    assert pair, "it was recognized by them"
    text = _question(record, pair[0])
    if text:
        yield {"role": "user", "content": text}
    yield from _answer(record, pair[1])


def _question(record: Record, name: str) -> str:
    extras = [_string(record, extra) for extra in EXTRAS if extra in record and extra != name]
    return "\n\n".join(filter(None, (_string(record, name), *extras)))


def _is_empty_list(record: Record) -> bool:
    return any(record.get(name) in ("", []) for name in LISTS if name in record)


def _string(record: Record, name: str) -> str:
    value = record[name]
    if isinstance(value, str):
        return value
    raise NotAConversationError(
        f"the field {name!r} is {type(value).__name__} {str(value)[:40]!r}, not a string"
    )


def _history(record: Record) -> Iterator[list[dict[str, Any]]]:
    """Earlier exchanges, as LLaMA-Factory and ms-swift have them: pairs of a question and an answer."""
    history = record.get("history") or []
    if not isinstance(history, list):
        raise NotAConversationError(
            f"the field 'history' is {type(history).__name__} {str(history)[:40]!r}, not a list of questions and answers"
        )
    for each in history:
        if not (isinstance(each, list) and len(each) == 2 and all(isinstance(text, str) for text in each)):
            raise NotAConversationError(
                f"history contains {str(each)[:40]!r}, not a pair of a question and an answer"
            )
        yield [{"role": "user", "content": each[0]}, {"role": "assistant", "content": each[1]}]


_MESSAGES = "a list of messages with role and content, named " + ", ".join(LISTS[:3])
SHAPES = (
    Shape("messages", _MESSAGES, _is_messages, _from_turns),
    Shape(
        "sharegpt", "a list of messages with from and value, named conversations", _is_sharegpt, _from_turns
    ),
    Shape("messages", _MESSAGES, _is_exchanges, _from_exchanges),
    Shape("alpaca", "instruction and output (or response), perhaps input", _is_alpaca, _from_pair),
    Shape(
        "prompt-completion",
        "a question and an answer, such as prompt and completion, question and answer, query and response",
        _is_pair,
        _from_pair,
    ),
    Shape(labelled.NAME, labelled.FIELDS, labelled.matches, None),
    Shape("messages", _MESSAGES, _is_empty_list, lambda record: Conversation(())),
)
