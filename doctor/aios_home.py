"""The folder of aios' own files (the capability file, the runs), and the lock that a fix or an undo holds."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path

import platformdirs

from doctor.host import Reader
from doctor.lock import held, is_held

SECONDS_TO_WAIT = 2.0  # is_being_changed holds the lock for a moment


def state_folder(host: Reader) -> Path:
    """`AIOS_HOME`, or this user's data folder. `host` is the live one: nothing is saved for a recorded machine."""
    if own := host.variable("AIOS_HOME"):
        return Path(own).absolute()
    folder = Path(platformdirs.user_data_dir("aios", appauthor=False))
    if folder.is_absolute():
        return folder
    return Path(host.identity.home, ".aios")  # seen under Wine: Windows names no folder


@contextmanager
def changing_alone(host: Reader) -> Iterator[None]:
    """Hold the lock that keeps other fixes and undos of this user from running. Raises HeldError, OSError."""
    now = datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M:%S UTC")
    with held(_lock(host), f"process {os.getpid()}, since {now}", SECONDS_TO_WAIT):
        yield


def is_being_changed(host: Reader) -> bool:
    """Whether a fix or an undo of this user is running now."""
    return is_held(_lock(host))


def _lock(host: Reader) -> Path:
    return state_folder(host) / "changing.lock"
