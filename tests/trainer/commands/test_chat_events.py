"""`aios chat --jsonl`: messages and answers as lines of JSON."""

from __future__ import annotations

import io
import json
import threading
from collections.abc import Generator
from typing import Any

import pytest

from trainer.commands import chat_events
from trainer.errors import UserError


class Told:
    """A conversation that answers with the words of the message."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.cache_bytes = 4096

    def start_over(self) -> None:
        self.said = []

    def answer(self, text: str) -> Generator[str, None, None]:
        if text == "refused":
            raise UserError("too long")
        kept = ""
        try:
            for word in text.split():
                kept += word
                yield word
            yield ""  # the rest of a character
        finally:
            self.said.append(kept)


def talk(monkeypatch: pytest.MonkeyPatch, capsys: Any, *requests: str) -> tuple[Told, list[dict[str, Any]]]:
    conversation: Any = Told()
    monkeypatch.setattr("sys.stdin", io.StringIO("".join(f"{line}\n" for line in requests)))
    chat_events.converse(conversation, "chatml")
    return conversation, [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_each_message_is_answered_in_pieces(monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    _, events = talk(monkeypatch, capsys, '{"message": "one\\ntwo ü"}', "nonsense", '{"message": " "}')
    assert events[0] == {"event": "ready", "template": "chatml"}
    kinds = [each["event"] for each in events[1:]]
    assert kinds[-2:] == ["error", "error"] and kinds[-3] == "end"
    assert events[-3]["tokens"] <= 3 and events[-3]["cache_bytes"] == 4096


def test_a_refused_message_does_not_end_the_conversation(
    monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    _, events = talk(monkeypatch, capsys, '{"message": "refused"}', '{"new": true}', '{"message": "a"}')
    assert [each["event"] for each in events] == ["ready", "error", *["text"] * (len(events) - 3), "end"]
    assert events[1]["message"] == "too long"


def test_a_stopped_answer_stays_in_the_conversation() -> None:
    conversation: Any = Told()
    stop = threading.Event()
    stop.set()
    chat_events._answer(conversation, "one two three", stop)
    assert conversation.said == ["one"]
