"""Read files that other programs may have written: regular files only, and only up to a size.

A pipe or a device would block or never end, and a file that is too large would fill the memory.
"""

from __future__ import annotations

import csv
import errno
import json
import os
import re
import stat
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, BinaryIO

LARGEST = 64 << 20  # bytes: records, journals, recordings and metadata have a few megabytes at most
DEEPEST = 200  # brackets in each other; files that are meant to be read have ten
BRACKETS = re.compile(rb'"(?:[^"\\]|\\.)*"|[][{}]', re.DOTALL)
NO_WAITING = getattr(os, "O_NONBLOCK", 0)  # opening a pipe would wait for a writer
FLAGS = os.O_RDONLY | NO_WAITING | getattr(os, "O_BINARY", 0) | getattr(os, "O_NOCTTY", 0)


class UnreadableFileError(OSError):
    """A file that is not read. The message is a clause about it, such as "it is a pipe, not a regular file"."""


def open_stream(path: Path) -> BinaryIO:
    """Open a regular file or a pipe, to be read piece by piece. Raises OSError, and UnreadableFileError for a device."""
    return path.open("rb") if stat.S_ISFIFO(path.stat().st_mode) else open_regular(path)


def open_regular(path: Path) -> BinaryIO:
    """Open a regular file for reading. Raises OSError, and UnreadableFileError for a pipe or device."""
    _require_regular(path.stat(), path)  # a device is not even opened
    with ExitStack() as on_error:
        descriptor = os.open(path, FLAGS)
        on_error.callback(os.close, descriptor)
        _require_regular(os.fstat(descriptor), path)
        on_error.pop_all()
    return os.fdopen(descriptor, "rb")


def read_bytes(path: Path, largest: int = LARGEST) -> bytes:
    """Return the content of a regular file. Raises OSError, and UnreadableFileError if it has more than `largest` bytes."""
    with open_regular(path) as file:
        # Not `largest`: a buffer of that size would be allocated for every file.
        content = file.read(min(largest, os.fstat(file.fileno()).st_size) + 1)
    if len(content) > largest:
        raise _too_large(largest)
    return content


def read_text(path: Path, largest: int = LARGEST, errors: str = "strict") -> str:
    """Return the content of a regular file in UTF-8. Raises OSError, UnicodeDecodeError."""
    return read_bytes(path, largest).decode("utf-8", errors)


def read_beginning(path: Path, size: int) -> bytes:
    """Return the first `size` bytes of a regular file. Raises OSError."""
    with open_regular(path) as file:
        return file.read(size)


def read_rows(path: Path) -> Iterator[list[str]]:
    """Yield the rows of a file in CSV, such as RECORD. Raises OSError, UnicodeDecodeError, csv.Error."""
    yield from csv.reader(read_text(path).splitlines())


def check(path: Path, largest: int = LARGEST) -> None:
    """Raise UnreadableFileError if a library would block on this file, or read more than `largest` bytes. Raises OSError."""
    status = path.stat()
    _require_regular(status, path)
    if status.st_size > largest:
        raise _too_large(largest)


def parse_json(content: str | bytes) -> Any:
    """Return the value of JSON text. Raises ValueError, also if it is nested too deeply."""
    try:
        return json.loads(content)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def is_nested_deeply(content: bytes) -> bool:
    """Whether brackets in JSON text may be nested more deeply than a parser allows. Linear, and does not parse."""
    if content.count(b"[") + content.count(b"{") <= DEEPEST:
        return False
    depth = 0
    for match in BRACKETS.finditer(content):
        depth += {b"[": 1, b"{": 1, b"]": -1, b"}": -1}.get(match[0], 0)
        if depth > DEEPEST:
            return True
    return False


def read_json(path: Path, largest: int = LARGEST) -> Any:
    """Return the value in a JSON file. Raises OSError, ValueError."""
    return parse_json(read_text(path, largest))


def _require_regular(status: os.stat_result, path: Path) -> None:
    mode = status.st_mode
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not stat.S_ISREG(mode):
        kind = "pipe" if stat.S_ISFIFO(mode) else "socket" if stat.S_ISSOCK(mode) else "device"
        raise UnreadableFileError(f"it is a {kind}, not a regular file")


def _too_large(largest: int) -> UnreadableFileError:
    size = f"{largest >> 20} MiB" if largest >= 1 << 20 else f"{largest} bytes"
    return UnreadableFileError(f"it is too large: more than {size}")
