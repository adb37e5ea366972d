"""One process at a time. The system itself frees the lock when its holder ends, however it ends."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

POLL_SECONDS = 0.1
FAR_BEHIND = (
    1 << 30
)  # Windows lets nobody else read the byte that is locked; the holder's name is for all to read


class HeldError(Exception):
    """Another process holds the lock; the message says which."""


@contextmanager
def held(path: Path, since: str, patience: float) -> Iterator[None]:
    """Hold the lock file `path`, and name this process in it, with the time `since`.

    Raises HeldError where another process still holds it after `patience` seconds, OSError where there can be no lock.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+b") as file:
        started = time.monotonic()
        while not _try_to_lock(file):
            if time.monotonic() - started > patience:
                holder = path.read_text(encoding="utf-8", errors="replace").strip()
                raise HeldError(holder or "another process")
            time.sleep(POLL_SECONDS)
        try:
            file.truncate(0)
            file.write(f"process {os.getpid()}, since {since}\n".encode())
            file.flush()
            yield
        finally:
            with suppress(OSError):  # closing the file does it, too
                _unlock(file)


def is_held(path: Path) -> bool:
    """Does another process hold the lock now? Where that cannot be seen, nobody does."""
    try:
        with path.open("r+b") as file:
            if not _try_to_lock(file):
                return True
            _unlock(file)
    except OSError:
        pass
    return False


if sys.platform == "win32":
    import msvcrt

    def _try_to_lock(file: BinaryIO) -> bool:
        file.seek(FAR_BEHIND)
        try:
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        except PermissionError:
            return False
        return True

    def _unlock(file: BinaryIO) -> None:
        file.seek(FAR_BEHIND)
        msvcrt.locking(file.fileno(), msvcrt.LK_UNLCK, 1)

else:
    import fcntl

    def _try_to_lock(file: BinaryIO) -> bool:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def _unlock(file: BinaryIO) -> None:
        fcntl.flock(file, fcntl.LOCK_UN)
