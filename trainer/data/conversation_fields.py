"""Reads the messages of a conversation from the fields of a record: lists of messages, or a question and its answer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

from doctor.bounded import parse_json
from trainer.data.messages import NotAConversationError, is_turn, message, tools
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


def turns_of(record: Record) -> tuple[str, list[Any]] | None:
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
    found = turns_of(record) or (turns_of(inner) if isinstance(inner, Mapping) else None)
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


def is_messages(record: Record) -> bool:
    found = turns_of(record)
    return found is not None and "from" not in found[1][0]


def is_sharegpt(record: Record) -> bool:
    found = turns_of(record)
    return found is not None and "from" in found[1][0]


def from_turns(record: Record) -> Conversation:
    found = turns_of(record)
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


def is_exchanges(record: Record) -> bool:
    """Whether a field holds pairs of a question and an answer, as XTuner's and Firefly's do."""
    return _exchanges_of(record) is not None


def _exchanges_of(record: Record) -> list[Any] | None:
    for name in LISTS:
        value = record.get(name)
        if (
            isinstance(value, list)
            and value
            and all(isinstance(each, Mapping) and names_of_pair(each) for each in value)
        ):
            return value
    return None


def from_exchanges(record: Record) -> Conversation:
    exchanges = _exchanges_of(record)
    assert exchanges, "it was recognized by them"
    turns = [turn for each in exchanges for turn in _pair_turns(each)]
    return made(turns, system_in(exchanges[0]) or system_in(record), record)


def names_of_pair(record: Record) -> tuple[str, str] | None:
    """The fields with the question and the answer. Of `input` and `instruction`, the latter is the question."""
    question = next((name for name in QUESTIONS if name in record), None)
    answer = next((name for name in ANSWERS if name in record), None)
    return (question, answer) if question and answer else None


def is_alpaca(record: Record) -> bool:
    pair = names_of_pair(record)
    return pair is not None and pair[0] == "instruction"


def is_pair(record: Record) -> bool:
    return names_of_pair(record) is not None


def from_pair(record: Record) -> Conversation:
    pair = names_of_pair(record)
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
    pair = names_of_pair(record)
    assert pair, "it was recognized by them"
    text = _question(record, pair[0])
    if text:
        yield {"role": "user", "content": text}
    yield from _answer(record, pair[1])


def _question(record: Record, name: str) -> str:
    extras = [_string(record, extra) for extra in EXTRAS if extra in record and extra != name]
    return "\n\n".join(filter(None, (_string(record, name), *extras)))


def is_empty_list(record: Record) -> bool:
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
