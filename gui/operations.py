"""The `aios` commands that the pages run, as child processes: as they are shown, run, and answered."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any

from doctor.bounded import parse_json
from doctor.quoting import each_shell, quoted
from doctor.started_as import as_started

NO_WINDOW = getattr(subprocess, "CREATE_NO_WINDOW", 0)  # exists on Windows only
QUIET = {"NO_COLOR": "1", "COLUMNS": "100", "PYTHONUTF8": "1", "PYTHONUNBUFFERED": "1"}


@dataclass(frozen=True)
class Command:
    """An `aios` command: the words after `aios`."""

    words: tuple[str, ...]

    @property
    def shown(self) -> str:
        """The command line, for a terminal of this system; two lines where cmd and PowerShell differ."""
        try:
            words = [quoted(word, windows=os.name == "nt", bare=True) for word in self.words]
        except ValueError:  # a quotation mark, for which cmd and PowerShell have no common form
            return as_started(f"aios {subprocess.list2cmdline(self.words)}")
        return "\n".join(as_started(line) for line in each_shell(" ".join(["aios", *words])))

    @property
    def arguments(self) -> list[str]:
        """The arguments that start this aios, whatever the current folder contains."""
        return [sys.executable, str(_front_listener()), *self.words]


def command(*words: str) -> Command:
    return Command(words)


@dataclass(frozen=True)
class Answer:
    """What a command printed, and its exit status."""

    status: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """The JSON document on stdout; None if stdout is not JSON."""
        try:
            return parse_json(self.out)
        except ValueError:
            return None

    @property
    def text(self) -> str:
        """Everything that a person would have read."""
        return "\n".join(filter(None, (self.out.rstrip(), self.err.rstrip())))


def environment() -> Mapping[str, str]:
    """The environment of a child: no colours, UTF-8."""
    return {**os.environ, **QUIET}


async def ask(asked: Command, stdin: str = "") -> Answer:
    """Run a command to its end. It ends with the task that waits for it."""
    process = _start(asked)
    waiting = asyncio.ensure_future(asyncio.to_thread(process.communicate, stdin.encode()))
    try:
        out, err = await asyncio.shield(waiting)
    except asyncio.CancelledError:
        process.kill()
        raise
    return Answer(process.returncode, _text(out), _text(err))


async def lines(asked: Command) -> AsyncIterator[str]:
    """Run a command, and yield the lines of its stdout as they come. It ends with the iterator."""
    process, loop = _start(asked, errors=subprocess.DEVNULL), asyncio.get_running_loop()
    queue: asyncio.Queue[str | None] = asyncio.Queue()

    def read() -> None:
        assert process.stdout
        for line in process.stdout:
            loop.call_soon_threadsafe(queue.put_nowait, _text(line))
        loop.call_soon_threadsafe(queue.put_nowait, None)

    assert process.stdin
    process.stdin.close()
    threading.Thread(target=read, daemon=True).start()
    try:
        while (line := await queue.get()) is not None:
            yield line
    finally:
        if process.poll() is None:
            process.kill()
        await asyncio.to_thread(process.wait)


def event(line: str) -> dict[str, Any]:
    """The event in a line of JSON; empty if there is none."""
    try:
        found = parse_json(line)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _start(asked: Command, errors: int = subprocess.PIPE) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        asked.arguments,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=errors,
        env=environment(),
        creationflags=NO_WINDOW,
    )


def _front_listener() -> str:
    """The path of aios.py. Started by its path, Python imports aios' own packages, and none of the current folder."""
    found = importlib.util.find_spec("aios")
    assert found and found.origin
    return found.origin


def _text(output: bytes) -> str:
    return output.decode("utf-8", "replace").replace("\r\n", "\n")
