"""Writing a file so that it is there whole or not at all."""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path

RETRIES = 20 if os.name == "nt" else 0  # a virus scanner there holds a new file for a moment
SECONDS_BETWEEN = 0.05


def write_atomically(path: Path, content: bytes) -> None:
    """Put `content` at `path` by way of a temporary file beside it. Raises OSError and then leaves nothing behind."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
    temporary = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
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
