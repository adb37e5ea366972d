"""Finding programs on PATH and running them: bounded in time, output and processes."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO

from doctor.host.base import Completed
from doctor.host.deadline import in_time
from doctor.host.process_tree import ProcessTree
from doctor.host.readings import Absent, Found, Reading, Unreadable

OUTPUT_LIMIT = 4 * 1024 * 1024  # bytes of each stream
SECONDS_FOR_LAST_WORDS = 1.0  # to read what a program that ended left in its pipes


def find_on_path(name: str, path: str, extensions: Sequence[str] = ()) -> Reading[str]:
    """The absolute path of a program. Looks in PATH's absolute folders alone, so never in the current directory.

    `extensions` are what the system puts behind a name that has none of them: PATHEXT on Windows, else nothing.
    """
    if Path(name).name != name:
        return Unreadable(f"{name} is not the bare name of a program")
    has_one = Path(name).suffix.casefold() in map(str.casefold, extensions)
    endings = extensions if extensions and not has_one else ("",)
    for entry in path.split(os.pathsep):
        folder = Path(entry.strip('"'))
        if not folder.is_absolute():
            continue
        for ending in endings:
            program = folder / (name + ending)
            if _is_program(program):
                return Found(str(program))
    return Absent()


def _is_program(path: Path) -> bool:
    try:
        return path.is_file() and os.access(path, os.X_OK)
    except OSError:  # a folder on a drive that is gone, an alias into the Store
        return False


def decode(output: bytes, code_page: int | None) -> str:
    """Text that a program printed: UTF-8 where it is that, else in the OEM code page; line ends become newlines.

    git and `vswhere -utf8` print UTF-8 whatever the code page is; text of another code page is hardly ever valid UTF-8.
    """
    try:
        text = output.decode("utf-8")
    except UnicodeDecodeError:
        encoding = f"cp{code_page}" if code_page else "utf-8"
        try:
            text = output.decode(encoding, errors="backslashreplace")
        except LookupError:  # a code page that Python has no table for
            text = output.decode("ascii", errors="backslashreplace")
    return text.replace("\r\n", "\n")


class _Collector(threading.Thread):
    """Reads a pipe to its end, in the background. A program that prints too much is ended."""

    def __init__(self, pipe: IO[bytes] | None, tree: ProcessTree) -> None:
        super().__init__(daemon=True)
        self.content = bytearray()
        self._pipe, self._tree = pipe, tree
        self.start()

    @property
    def overflowed(self) -> bool:
        return len(self.content) > OUTPUT_LIMIT

    def run(self) -> None:
        assert self._pipe is not None
        with self._pipe:
            while not self.overflowed and (chunk := self._pipe.read(65536)):
                self.content += chunk
        if self.overflowed:
            self._tree.kill()


def run_bounded(
    command: Sequence[str], timeout: float, environment: Mapping[str, str], code_page: int | None
) -> Reading[Completed]:
    """Run an absolute path with arguments. `environment` is all of the child's; standard input is closed.

    A crash is a Completed with its exit code. What does not start, answer in time or come to an end is Unreadable.
    """
    name = Path(command[0]).name
    timeout = in_time(timeout)
    if not timeout:
        return Unreadable(f"no time was left to ask {name}")
    try:
        tree = ProcessTree(command, environment)
    except OSError as error:
        if isinstance(error, FileNotFoundError) and not Path(command[0]).exists():
            return Absent()
        return Unreadable(f"{name} could not be started: {Unreadable.because(error).reason}")
    outcome: Reading[Completed] | None = None
    try:
        outcome = _outcome(tree, name, timeout, code_page)
        return outcome
    finally:
        if outcome is None:  # Ctrl-C: an installer must not go on behind the back of whoever tidies up
            tree.kill()
            tree.process.wait(SECONDS_FOR_LAST_WORDS)
        tree.close()


def _outcome(tree: ProcessTree, name: str, timeout: float, code_page: int | None) -> Reading[Completed]:
    outputs = [_Collector(pipe, tree) for pipe in (tree.process.stdout, tree.process.stderr)]
    try:
        exit_code = tree.process.wait(timeout)
    except subprocess.TimeoutExpired:
        tree.kill()
        with suppress(subprocess.TimeoutExpired):  # one that waits for a wedged driver cannot even be killed
            tree.process.wait(SECONDS_FOR_LAST_WORDS)
        return Unreadable(f"{name} did not answer within {round(timeout, 1):g} s")
    if not _finish(outputs):  # a child of it lives on and holds a pipe
        tree.kill()
        _finish(outputs)
    if any(output.overflowed for output in outputs):
        return Unreadable(f"{name} printed more than {OUTPUT_LIMIT // 2**20} MiB")
    stdout, stderr = (decode(bytes(output.content), code_page) for output in outputs)
    return Found(Completed(exit_code=exit_code, stdout=stdout, stderr=stderr))


def _finish(outputs: Sequence[_Collector]) -> bool:
    """Give the pipes a moment to come to their end; did they?"""
    deadline = time.monotonic() + SECONDS_FOR_LAST_WORDS
    for output in outputs:
        output.join(max(0.0, deadline - time.monotonic()))
    return not any(output.is_alive() for output in outputs)
