"""One run at a time in a folder, and on a log file: a second one is told who is there."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import datetime
from pathlib import Path

from doctor.lock import HeldError, held, is_held
from trainer.errors import UserError


@contextmanager
def only_run(folder: Path, log_file: Path) -> Iterator[None]:
    """While entered, no other run writes there. The system itself lets go of both when the process ends, killed or not.

    Raises:
        UserError: another run writes there, or nobody can.
    """
    with ExitStack() as locks:
        locks.enter_context(_locked(folder, folder / "run.lock", "output.output_dir (--output-dir)"))
        locks.enter_context(_locked(log_file, _lock_of(log_file), "output.log_file (--log-file)"))
        yield


def is_written(log_file: Path) -> bool:
    """Whether a run writes to a log file now."""
    return is_held(_lock_of(log_file))


def _lock_of(log_file: Path) -> Path:
    return log_file.with_name(log_file.name + ".lock")


@contextmanager
def _locked(path: Path, lock_file: Path, key: str) -> Iterator[None]:
    started = datetime.now().astimezone().isoformat(sep=" ", timespec="seconds")
    with ExitStack() as lock:
        try:
            lock.enter_context(
                held(lock_file, f"process {os.getpid()} on {platform.node()}, since {started}")
            )
        except HeldError as error:
            raise UserError(
                f"Another run writes to {path.absolute()}: {error}. Wait for it to end, stop it, or choose another path "
                f"with {key}."
            ) from None
        except OSError as error:
            raise UserError(
                f"{path.absolute()} cannot be written to: {error}. Choose another path with {key}."
            ) from error
        try:
            yield
        finally:
            with suppress(OSError):  # Windows does not delete an open file
                lock_file.unlink()
    with suppress(OSError):  # not empty, or already deleted
        lock_file.parent.rmdir()
