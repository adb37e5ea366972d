"""Locks between processes. The system releases a lock when the process that holds it ends, even if it is killed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from doctor.bounded import read_text
from doctor.ownership import HOLDER, LOCK, ForeignFileError, require_ours

LONGEST_HOLDER = 4096  # bytes


class HeldError(Exception):
    """Another process holds the lock; the message names it."""


@contextmanager
def held(path: Path, holder: str, timeout: float = 0.0) -> Iterator[None]:
    """Hold the lock file `path`. Meanwhile a file beside it, with the suffix `.holder`, contains the text `holder`.

    Windows does not let other processes read a locked file, hence the second one.

    Raises:
        HeldError: another process still holds the lock after `timeout` seconds.
        OSError: the lock file cannot be written, or is not a file of aios.
    """
    require_ours(path, LOCK)
    require_ours(_holder_file(path), HOLDER)
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path)
    try:
        lock.acquire(timeout=timeout)
    except Timeout:
        raise HeldError(_holder_of(path)) from None
    try:
        _holder_file(path).write_text(holder, encoding="utf-8", newline="\n")
        yield
    finally:
        with suppress(OSError):
            _holder_file(path).unlink()
        lock.release()


def is_held(path: Path) -> bool:
    """Whether a process holds the lock now.

    A lock file that this user may not open counts as held if there is a holder file.
    """
    if not path.exists():
        return False
    try:
        require_ours(path, LOCK)
        with FileLock(path, timeout=0):
            return False
    except Timeout:
        return True
    except ForeignFileError:
        return False
    except OSError:
        return _holder_file(path).exists()


def _holder_of(path: Path) -> str:
    try:
        return read_text(_holder_file(path), LONGEST_HOLDER).strip()
    except (OSError, ValueError):
        return "a process that has just started"


def _holder_file(path: Path) -> Path:
    return path.with_suffix(".holder")
