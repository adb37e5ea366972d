"""Find programs on PATH, and run them with limits on time, output and processes."""

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
from doctor.host.deadline import limited
from doctor.host.process_tree import ProcessTree
from doctor.host.readings import Absent, Found, Reading, Unreadable

OUTPUT_LIMIT = 4 * 1024 * 1024  # bytes per stream
DRAIN_SECONDS = 1.0  # to read the rest of the output after a program has ended


def find_on_path(name: str, path: str, extensions: Sequence[str] = ()) -> Reading[str]:
    """Return the absolute path of a program. Relative folders on PATH are skipped, so the current one is never searched.

    `extensions` are tried for a name without one of them: PATHEXT on Windows, else none.
    """
    if Path(name).name != name:
        return Unreadable(f"{name} is not the name of a program")
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
    except OSError:  # a drive that is gone, or an alias of the Microsoft Store
        return False


def decode(output: bytes, code_page: int | None) -> str:
    """Decode the output of a program: UTF-8 if it is valid, else the OEM code page. Line ends become newlines.

    git and `vswhere -utf8` print UTF-8 regardless of the code page, and text in another code page is rarely valid UTF-8.
    """
    try:
        text = output.decode("utf-8")
    except UnicodeDecodeError:
        encoding = f"cp{code_page}" if code_page else "utf-8"
        try:
            text = output.decode(encoding, errors="backslashreplace")
        except LookupError:  # a code page that Python does not know
            text = output.decode("ascii", errors="backslashreplace")
    return text.replace("\r\n", "\n")


class _Collector(threading.Thread):
    """A thread that reads a pipe to its end, and kills a program that prints too much."""

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
    """Run a program, given by its absolute path. `environment` is complete; standard input is closed.

    A crash is a Completed with its exit code. Unreadable: the program did not start or did not end in time.
    """
    name = Path(command[0]).name
    timeout = limited(timeout)
    if not timeout:
        return Unreadable(f"no time left to run {name}")
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
        if outcome is None:  # Ctrl-C: an installer must not continue while its changes are undone
            tree.kill()
            tree.process.wait(DRAIN_SECONDS)
        tree.close()


def _outcome(tree: ProcessTree, name: str, timeout: float, code_page: int | None) -> Reading[Completed]:
    outputs = [_Collector(pipe, tree) for pipe in (tree.process.stdout, tree.process.stderr)]
    try:
        exit_code = tree.process.wait(timeout)
    except subprocess.TimeoutExpired:
        tree.kill()
        with suppress(subprocess.TimeoutExpired):  # a program that waits for a hung driver cannot be killed
            tree.process.wait(DRAIN_SECONDS)
        return Unreadable(f"{name} did not answer within {round(timeout, 1):g} s")
    if not _finish(outputs):  # a child process is still running and has the pipe open
        tree.kill()
        _finish(outputs)
    if any(output.overflowed for output in outputs):
        return Unreadable(f"{name} printed more than {OUTPUT_LIMIT // 2**20} MiB")
    stdout, stderr = (decode(bytes(output.content), code_page) for output in outputs)
    return Found(Completed(exit_code=exit_code, stdout=stdout, stderr=stderr))


def _finish(outputs: Sequence[_Collector]) -> bool:
    """Wait a moment for the pipes to end. Return whether they did."""
    deadline = time.monotonic() + DRAIN_SECONDS
    for output in outputs:
        output.join(max(0.0, deadline - time.monotonic()))
    return not any(output.is_alive() for output in outputs)
