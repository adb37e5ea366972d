"""Writing files so that a crash leaves the old content or the new, never half of it."""

from __future__ import annotations

import hashlib
import os
import sys
import time
from contextlib import suppress
from pathlib import Path


def replace_text(path: Path, text: str) -> None:
    """Put text in place of a file's content: written beside it, flushed, then moved over it."""
    beside = path.with_name(path.name + ".partial")
    beside.write_text(text, encoding="utf-8", newline="\n")
    flush(beside)
    move(beside, path)


def move(source: Path, target: Path) -> None:
    """Rename. On Windows a virus scanner may hold a new file for a moment: then try again, for a second."""
    for _ in range(10 if sys.platform == "win32" else 0):
        try:
            source.replace(target)
            return
        except PermissionError:
            time.sleep(0.1)
    source.replace(target)
    flush_folder(target.parent)


def flush(path: Path) -> None:
    """Return once a file's content is on the disk."""
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def flush_folder(path: Path) -> None:
    """Return once the names in a folder are on the disk. Windows sees to that itself."""
    if sys.platform != "win32":
        folder = os.open(path, os.O_RDONLY)
        try:
            with suppress(OSError):  # some network drives cannot
                os.fsync(folder)
        finally:
            os.close(folder)


def sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
