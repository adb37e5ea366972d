"""Chat: a conversation with a model, through a child process of `aios chat`."""

from __future__ import annotations

import asyncio
import json
import subprocess
import threading
from collections.abc import Callable
from typing import Any

from nicegui import ui
from nicegui.elements.mixins.text_element import TextElement

from gui.frame import Here, button, command_line, folded, heading, output, page, paragraph, row, tag
from gui.operations import NO_WINDOW, Command, command, environment, event
from gui.units import mib

CONTINUES = "plain"  # the chat template of a model that was trained without one
FIELDS = ("system", "max-new-tokens", "temperature", "top-p", "min-p", "repetition-penalty")


class Child:
    """A running `aios chat --jsonl`. `said` is called in the loop with each event, and with {} when it has ended."""

    def __init__(self, asked: Command, said: Callable[[dict[str, Any]], None]) -> None:
        self.errors: list[str] = []
        self._loop = asyncio.get_running_loop()
        self._said = said
        self._process = subprocess.Popen(
            asked.arguments,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment(),
            creationflags=NO_WINDOW,
        )
        for read in (self._read, self._read_errors):
            threading.Thread(target=read, daemon=True).start()

    def send(self, **request: Any) -> None:
        """Send a request; one to a process that has ended is dropped, since its end is shown."""
        assert self._process.stdin
        try:
            self._process.stdin.write(json.dumps(request).encode() + b"\n")
            self._process.stdin.flush()
        except OSError:
            return

    def end(self) -> None:
        self._process.kill()

    def _read(self) -> None:
        assert self._process.stdout
        for line in self._process.stdout:
            self._tell(event(line.decode("utf-8", "replace")))
        self._process.wait()
        self._tell({})

    def _read_errors(self) -> None:
        assert self._process.stderr
        for line in self._process.stderr:
            self.errors.append(line.decode("utf-8", "replace").rstrip())

    def _tell(self, found: dict[str, Any]) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._said, found)


class Talk:
    """The page: the model to load, the conversation, and the message to send."""

    def __init__(self, here: Here) -> None:
        self.here, text = here, here.words
        self._values = {"checkpoint": here.query.get("checkpoint", "")}
        self._child: Child | None = None
        self._answer: TextElement | None = None
        model = ui.input(text("chat.checkpoint"), value=self._values["checkpoint"]).classes("wide")
        model.on_value_change(lambda e: self._enter("checkpoint", str(e.value or "")))
        with folded(text("doctor.options")), ui.element("div").classes("fields"):
            for name in FIELDS:
                entry = ui.input(text(f"chat.{name}"))
                entry.on_value_change(lambda e, name=name: self._enter(name, str(e.value or "")))
        self._command = ui.element("div")
        with row():
            button(text("chat.load"), self._load)
        self._state = paragraph("", "dim").props("role=status")
        self._log = ui.element("div").classes("plain").props(f'role=log aria-label="{text("nav.chat")}"')
        self._message = ui.textarea(text("chat.message")).props("outlined autogrow")
        self._message.on("keydown.enter.exact.prevent", self._send)
        with row():
            self._send_button = button(text("chat.send"), self._send)
            self._stop_button = button(text("chat.stop"), lambda: self._request(stop=True), quiet=True)
            button(text("chat.new"), self._start_over, quiet=True)
        self._enter("checkpoint", self._values["checkpoint"])
        self._ready(False)
        ui.context.client.on_delete(self._end)

    @property
    def _asked(self) -> Command:
        given = [(name, self._values.get(name, "").strip()) for name in ("checkpoint", *FIELDS)]
        return command(
            "chat", *(p for name, value in given if value for p in (f"--{name}", value)), "--jsonl"
        )

    def _enter(self, name: str, value: str) -> None:
        self._values[name] = value
        self._command.clear()
        with self._command:
            command_line(self.here, self._asked)

    def _load(self) -> None:
        self._end()
        self._log.clear()
        self._state.text = self.here.words("chat.loading")
        child = Child(self._asked, lambda found: self._on(child, found))
        self._child = child

    def _on(self, child: Child, found: dict[str, Any]) -> None:
        """Show an event of the child, unless another one has been loaded since."""
        text = self.here.words
        if child is not self._child:
            return
        kind = found.get("event")
        if kind == "ready":
            ready = "chat.continues" if found["template"] == CONTINUES else "chat.ready"
            self._state.text = text(ready, template=found["template"])
            self._ready(True)
        elif kind == "text" and self._answer:
            self._answer.text += found["text"]
        elif kind == "end":
            self._state.text = text(
                "chat.speed",
                tokens=found["tokens"],
                rate=found["tokens_per_second"],
                memory=mib(found["cache_bytes"]),
            )
            self._ready(True)
        elif kind == "error":
            self._state.text = found["message"]
            self._ready(True)
        elif not found:
            self._child = None
            self._ready(False)
            self._state.text = text("chat.ended")
            with self._log:
                output("\n".join(child.errors), text("output"))

    def _ready(self, ready: bool) -> None:
        self._send_button.set_enabled(ready)
        self._stop_button.set_enabled(bool(self._child) and not ready)

    def _send(self) -> None:
        message = str(self._message.value or "").strip()
        if not message or not self._child or not self._send_button.enabled:
            return
        self._message.value = ""
        with self._log:
            tag("div", message, "said mine")
            self._answer = tag("div", "", "said")
        self._request(message=message)
        self._ready(False)

    def _start_over(self) -> None:
        self._log.clear()
        self._request(new=True)

    def _request(self, **request: Any) -> None:
        if self._child:
            self._child.send(**request)

    def _end(self) -> None:
        if self._child:
            child, self._child = self._child, None
            child.end()


@page("/chat", "chat")
def chat(here: Here) -> None:
    heading(here.words("nav.chat"), 1)
    paragraph(here.words("chat.lead"))
    Talk(here)
