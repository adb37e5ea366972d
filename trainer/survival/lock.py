"""One run at a time in a folder, and on a log file: a second one is told who is there."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import datetime
from pathlib import Path

from filelock import FileLock, Timeout

from trainer.errors import UserError


@contextmanager
def only_run(folder: Path, log_file: Path) -> Iterator[None]:
    """While entered, no other run writes there. The system itself lets go of both when the process ends, killed or not.

    Raises:
        UserError: another run writes there, or nobody can.
    """
    with ExitStack() as held:
        held.enter_context(_held(folder, folder / "run.lock", "output.output_dir (--output-dir)"))
        held.enter_context(_held(log_file, _lock_of(log_file), "output.log_file (--log-file)"))
        yield


def is_written(log_file: Path) -> bool:
    """Whether a run writes to a log file now."""
    lock_file = _lock_of(log_file)
    if not lock_file.exists():
        return False
    try:
        with FileLock(lock_file, timeout=0):
            return False
    except (Timeout, OSError):  # another user's, where it cannot be locked
        return lock_file.with_suffix(".holder").exists()


def _lock_of(log_file: Path) -> Path:
    return log_file.with_name(log_file.name + ".lock")


@contextmanager
def _held(path: Path, lock_file: Path, key: str) -> Iterator[None]:
    lock = FileLock(lock_file)
    holder = lock_file.with_suffix(".holder")  # Windows lets nobody read a file that is locked
    try:
        lock_file.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=0)
        started = datetime.now().astimezone().isoformat(sep=" ", timespec="seconds")
        holder.write_text(
            f"process {os.getpid()} on {platform.node()}, since {started}", encoding="utf-8", newline="\n"
        )
    except Timeout:
        raise UserError(
            f"Another run writes to {path.absolute()}: {_read(holder)}. Wait for its end, stop it, or name another place "
            f"with {key}."
        ) from None
    except OSError as error:
        lock.release()
        raise UserError(
            f"{path.absolute()} cannot be written to: {error}. Name another place with {key}."
        ) from error
    try:
        yield
    finally:
        holder.unlink(missing_ok=True)
        with suppress(PermissionError):  # Windows deletes nothing that is open
            lock_file.unlink()
        lock.release()
        with suppress(OSError):  # not empty, or gone
            lock_file.parent.rmdir()


def _read(holder: Path) -> str:
    try:
        return holder.read_text(encoding="utf-8")
    except OSError:
        return "a process that has only just begun"
