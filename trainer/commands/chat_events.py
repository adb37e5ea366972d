"""`aios chat --jsonl`: messages and answers as lines of JSON, for programs.

Input: {"message": TEXT}, {"stop": true} during an answer, {"new": true} for a new conversation.
Output: {"event": "ready", "template": NAME}; for each message {"event": "text", "text": PIECE} and then
{"event": "end", "tokens": COUNT, "tokens_per_second": RATE, "cache_bytes": BYTES, "stopped": BOOLEAN} or
{"event": "error", "message": TEXT}.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Iterator
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

from doctor.bounded import parse_json
from trainer.commands.output import write_generated

if TYPE_CHECKING:
    from trainer.conversation import Conversation


class Requests:
    """The requests on stdin, read by a thread, so that one can stop an answer."""

    def __init__(self) -> None:
        self._queue: SimpleQueue[dict[str, Any] | None] = SimpleQueue()
        self.stop = threading.Event()
        threading.Thread(target=self._read, daemon=True).start()

    def __iter__(self) -> Iterator[dict[str, Any]]:
        while (request := self._queue.get()) is not None:
            yield request

    def _read(self) -> None:
        for line in sys.stdin:
            try:
                request = parse_json(line)
            except ValueError:
                request = None
            if not isinstance(request, dict):
                self._queue.put({"wrong": line})
            elif request.get("stop"):
                self.stop.set()
            else:
                self._queue.put(request)
        self.stop.set()
        self._queue.put(None)


def converse(conversation: Conversation, template: str) -> None:
    """Answer requests until stdin ends."""
    from trainer.errors import UserError

    requests = Requests()
    _write(event="ready", template=template)
    for request in requests:
        if request.get("new"):
            conversation.start_over()
            continue
        message = request.get("message")
        if not isinstance(message, str) or not message.strip():
            _write(event="error", message='Expected a line such as {"message": "Hello"}.')
            continue
        requests.stop.clear()
        try:
            _answer(conversation, message, requests.stop)
        except UserError as error:
            _write(event="error", message=str(error))


def _answer(conversation: Conversation, message: str, stop: threading.Event) -> None:
    count, start = 0, time.monotonic()
    pieces = conversation.answer(message)
    for piece in pieces:
        count += 1
        if piece:
            _write(event="text", text=piece)
        if stop.is_set():
            pieces.close()  # what was said stays in the conversation
            break
    else:
        count -= 1  # the last piece is the end of a character, not a token
    seconds = max(1e-9, time.monotonic() - start)
    _write(
        event="end",
        tokens=count,
        tokens_per_second=round(count / seconds, 1),
        cache_bytes=conversation.cache_bytes,
        stopped=stop.is_set(),
    )


def _write(**event: Any) -> None:
    write_generated(json.dumps(event) + "\n")
