"""Locks that allow one run at a time to write to an output folder and to a log file."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import datetime
from pathlib import Path

from doctor.bounded import read_text
from doctor.lock import HeldError, held, is_held
from trainer.errors import UserError

HOLDER = re.compile(r"process (?P<pid>\d+) on (?P<machine>.*), since ")  # as `_locked` writes it


@contextmanager
def lock_run(folder: Path, log_file: Path) -> Iterator[None]:
    """Lock an output folder and a log file while entered. The system releases both locks if the process is killed.

    Raises:
        UserError: another run has locked one of them, or it cannot be written to.
    """
    with ExitStack() as locks:
        locks.enter_context(_locked(folder, folder / "run.lock", "output.output_dir (--output-dir)"))
        locks.enter_context(_locked(log_file, _lock_file(log_file), "output.log_file (--log-file)"))
        yield


def is_locked(log_file: Path) -> bool:
    """Whether a run is writing to a log file."""
    return is_held(_lock_file(log_file))


def writer(log_file: Path) -> int | None:
    """The id of the process that writes to a log file; None if there is none, or if it runs on another machine."""
    if not is_locked(log_file):
        return None
    try:
        found = HOLDER.match(read_text(_lock_file(log_file).with_suffix(".holder"), 4096))
    except (OSError, ValueError):
        return None
    return int(found["pid"]) if found and found["machine"] == platform.node() else None


def _lock_file(log_file: Path) -> Path:
    return log_file.with_name(log_file.name + ".lock")


@contextmanager
def _locked(path: Path, lock_file: Path, key: str) -> Iterator[None]:
    started = datetime.now().astimezone().isoformat(sep=" ", timespec="seconds")
    with ExitStack() as stack:
        stack.callback(_remove_if_empty, lock_file.parent)
        try:
            stack.enter_context(
                held(lock_file, f"process {os.getpid()} on {platform.node()}, since {started}")
            )
        except HeldError as error:
            raise UserError(
                f"Another run is writing to {path.absolute()}: {error}. Wait for it to end, stop it, or choose another path "
                f"with {key}."
            ) from None
        except OSError as error:
            raise UserError(
                f"{path.absolute()} cannot be written to: {error}. Choose another path with {key}."
            ) from error
        stack.callback(_remove, lock_file)
        yield


def _remove(file: Path) -> None:
    with suppress(OSError):  # Windows does not delete an open file
        file.unlink()


def _remove_if_empty(folder: Path) -> None:
    with suppress(OSError):
        folder.rmdir()
