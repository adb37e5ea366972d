"""Writing a file so that it is there whole or not at all."""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
import time
from contextlib import suppress
from pathlib import Path

RETRIES = 20 if os.name == "nt" else 0  # a virus scanner there holds a new file for a moment
SECONDS_BETWEEN = 0.05
BLOCK = 1 << 20  # bytes read at a time


def write_atomically(path: Path, content: bytes) -> None:
    """Put `content` at `path` by way of a temporary file beside it. Raises OSError and then leaves nothing behind.

    A new file gets the rights that any new file of this user gets; one that is replaced keeps its own.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        with temporary.open("xb") as file:
            if os.name != "nt":
                with suppress(FileNotFoundError):
                    shutil.copymode(path, temporary)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        _replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)  # there only if something went wrong


def _replace(temporary: Path, path: Path) -> None:
    for _ in range(RETRIES):
        try:
            temporary.replace(path)
            return
        except PermissionError:
            time.sleep(SECONDS_BETWEEN)
    temporary.replace(path)


def sha256_of(path: Path) -> str:
    """Hexadecimal. Raises OSError."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(BLOCK):
            digest.update(chunk)
    return digest.hexdigest()
