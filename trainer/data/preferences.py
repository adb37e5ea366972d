"""Preference data: records with a chosen and a rejected answer to the same prompt, as two conversations.

The prompt is a field of its own, or what both answers begin with: the same messages, or the same words.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from itertools import takewhile
from typing import Any

from trainer.data.conversation_fields import made, messages_in, prompt_in, system_in
from trainer.data.messages import NotAConversationError, UnusableError, is_turn, message
from trainer.data.recognition import answers_in, readings
from trainer.models.chat_template import Conversation

Record = Mapping[str, Any]
NAME = "preference"  # the value of data.format
FIELDS = "a chosen and a rejected answer, such as prompt, chosen and rejected"
# Names of the two answers: TRL, axolotl's chatml.argilla, ms-swift, OpenAI.
CHOSEN = ("chosen", "chosen_response", "preferred_output", "preferred", "response")
REJECTED = ("rejected", "rejected_response", "non_preferred_output", "dispreferred")
# A dialogue in one text, as Anthropic's hh-rlhf has it.
SPEAKER = re.compile(r"(?:^|\n\n)(Human|Assistant):[ \t]*")
ROLES = {"Human": "user", "Assistant": "assistant"}

Pair = tuple[Conversation, Conversation]


def matches(record: Record) -> bool:
    """Whether a record has both answers. The chosen one may be the last of its messages (ms-swift)."""
    names = {str(key).lower() for key in record}
    return not names.isdisjoint(REJECTED) and (
        not names.isdisjoint(CHOSEN) or messages_in(record) is not None
    )


def pair(record: Record) -> Pair:
    """The conversations with the chosen and with the rejected answer. Only what differs is learned.

    Raises:
        NotAConversationError: the record is not what its fields promise.
        UnusableError: it has nothing to learn.
    """
    if not matches(record):
        raise NotAConversationError(f"looked for {FIELDS}, found {', '.join(map(str, record)) or 'no field'}")
    read = next(readings(record))
    lower = {str(key).lower(): value for key, value in read.items()}
    rejected = _value(lower, REJECTED)
    if not any(name in lower for name in CHOSEN):  # ms-swift: the last message is the chosen answer
        turns = messages_in(lower)
        assert turns, "matches"
        chosen, prompt = turns[-1:], [*turns[:-1]]
    else:
        chosen, prompt = _value(lower, CHOSEN), None
    both = [_turns(value) for value in (chosen, rejected)]
    if all(each and message(each[0])[0]["role"] != "assistant" for each in both):
        conversations = [made(turns, system_in(lower), lower) for turns in both]  # with the prompt
    elif prompt is None and (prompt := prompt_in(lower)) is None:
        conversations = [made(turns, system_in(lower), lower) for turns in _split(chosen, rejected)]
    else:
        conversations = [made([*prompt, *turns], system_in(lower), lower) for turns in both]
    return _compared(*conversations)


def _value(record: Record, names: tuple[str, ...]) -> Any:
    value = next((record[name] for name in names if name in record), None)
    if value in (None, "", []):
        raise UnusableError("an empty answer")
    return value


def _turns(value: Any) -> list[Any]:
    """An answer as messages."""
    if is_turn(value):
        return [value]
    if isinstance(value, list):
        return value
    if not isinstance(value, str):
        raise NotAConversationError(
            f"an answer is {type(value).__name__} {str(value)[:40]!r}, not a text or messages"
        )
    return _dialogue(value) or [{"role": "assistant", "content": value}]


def _dialogue(text: str) -> list[Any] | None:
    """The messages of a dialogue in one text; None if it does not begin with a speaker."""
    parts = SPEAKER.split(text)
    if len(parts) < 3 or parts[0].strip() or parts[1] != "Human":
        return None
    return [
        {"role": ROLES[speaker], "content": said.strip()}
        for speaker, said in zip(parts[1::2], parts[2::2], strict=True)
    ]


def _split(chosen: Any, rejected: Any) -> list[list[Any]]:
    """Two texts without a prompt: it is the words that both begin with, as TRL finds it."""
    if not (isinstance(chosen, str) and isinstance(rejected, str)):
        raise UnusableError("no prompt")
    same = "".join(
        a for a, b in takewhile(lambda both: both[0] == both[1], zip(chosen, rejected, strict=False))
    )
    prompt = same[: max(same.rfind(" "), same.rfind("\n"), 0)]
    if not prompt.strip():
        raise UnusableError("no prompt")
    question = {"role": "user", "content": prompt}
    return [[question, {"role": "assistant", "content": text[len(prompt) :]}] for text in (chosen, rejected)]


def _compared(chosen: Conversation, rejected: Conversation) -> Pair:
    """The conversations with the messages that both begin with as a prompt, which is not learned."""
    if chosen.messages == rejected.messages:
        raise UnusableError("both answers are the same")
    same = next(
        (i for i, (a, b) in enumerate(zip(chosen.messages, rejected.messages, strict=False)) if a != b),
        min(len(chosen.messages), len(rejected.messages)),
    )
    if not any(each["role"] == "user" for each in chosen.messages[:same]):
        raise UnusableError("no prompt")
    pair = tuple(
        replace(each, unlearned=each.unlearned | frozenset(range(same))) for each in (chosen, rejected)
    )
    for each in pair:
        if not answers_in(each):
            raise UnusableError("an empty answer")
    return pair[0], pair[1]
