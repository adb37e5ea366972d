"""Files on disk: written and moved so that a crash leaves the old content or the new, and their SHA-256."""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from doctor.bounded import open_regular

RETRIES = 20 if os.name == "nt" else 0  # on Windows a virus scanner can hold a new file open for a moment
SECONDS_BETWEEN = 0.05
RANDOM_BYTES = 4  # in the name of a temporary file
BLOCK = 1 << 20  # bytes read at a time


def write_atomically(path: Path, content: bytes) -> None:
    """Write `content` to a temporary file in the same folder, then rename it to `path`.

    A new file gets the default permissions; a replaced file keeps its own. Raises OSError, and then leaves no file behind.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = _temporary_of(path)
    try:
        with temporary.open("xb") as file:
            if os.name != "nt":
                with suppress(FileNotFoundError):
                    shutil.copymode(path, temporary)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        move(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def replacing(target: Path) -> Iterator[Path]:
    """The path for a new file or folder, which is renamed to `target` after the block, or removed if the block fails.

    Only one process at a time may write to a target: what a killed one has left is removed first. Raises OSError.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    for path in target.parent.iterdir():
        if is_temporary_of(path.name, target.name):
            _remove(path)
    temporary = _temporary_of(target)
    try:
        yield temporary
        move(temporary, target)
    finally:
        _remove(temporary)


def _temporary_of(target: Path) -> Path:
    return target.with_name(f".{target.name}.{secrets.token_hex(RANDOM_BYTES)}.tmp")


def _remove(path: Path) -> None:
    with suppress(OSError):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def is_temporary_of(name: str, target: str) -> bool:
    """Whether a kill while `target` is written leaves a file or folder of this name."""
    return re.fullmatch(rf"\.{re.escape(target)}\.[0-9a-f]{{{2 * RANDOM_BYTES}}}\.tmp", name) is not None


def append_line(path: Path, line: bytes) -> None:
    """Append a line and wait until it is on the disk. A line that was cut off by a kill before is ended first.

    Raises OSError.
    """
    with path.open("a+b") as file:
        if _has_unfinished_line(file):
            file.write(b"\n")
        file.write(line + b"\n")
        file.flush()
        os.fsync(file.fileno())


def _has_unfinished_line(file: BinaryIO) -> bool:
    if file.seek(0, os.SEEK_END) == 0:
        return False
    file.seek(-1, os.SEEK_END)
    return file.read(1) != b"\n"


def move(source: Path, target: Path) -> None:
    """Rename a file or folder, replacing a file at `target`. On Windows, retry for a second if it is in use."""
    for _ in range(RETRIES):
        try:
            source.replace(target)
            break
        except PermissionError:
            time.sleep(SECONDS_BETWEEN)
    else:
        source.replace(target)
    flush_folder(target.parent)


def flush(path: Path) -> None:
    """Wait until a file's content is on the disk."""
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def flush_folder(path: Path) -> None:
    """Wait until a folder's list of names is on the disk. Windows needs no such call."""
    if os.name == "nt":
        return
    with suppress(OSError):  # not supported by some network drives
        folder = os.open(path, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def sha256_of(path: Path) -> str:
    """The SHA-256 of a regular file in hexadecimal. Raises OSError."""
    digest = hashlib.sha256()
    with open_regular(path) as file:
        while block := file.read(BLOCK):
            digest.update(block)
    return digest.hexdigest()
