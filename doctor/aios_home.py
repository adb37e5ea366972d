"""Where the doctor keeps its own files: the capability file, a folder for each run, a lock for whoever changes things."""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path

import platformdirs

from doctor.host import Reader
from doctor.lock import held, is_held

RUN_NAME = re.compile(r"\d{4}-\d\d-\d\dT\d\d-\d\d-\d\dZ__[0-9a-f]{8}")
SECONDS_TO_WAIT = 2.0  # for somebody who only asks whether the lock is held


def state_folder(host: Reader) -> Path:
    """`AIOS_HOME`, else this user's data folder. `host` is the live one: a recorded machine keeps no files here."""
    if own := host.variable("AIOS_HOME"):
        return Path(own).absolute()
    folder = Path(platformdirs.user_data_dir("aios", appauthor=False))
    if folder.is_absolute():
        return folder
    return Path(host.identity.home, ".aios")  # Windows would not say: the answer is relative to anywhere


def runs_folder(host: Reader) -> Path:
    """Holds a folder for each run; their names sort by time."""
    return state_folder(host) / "runs"


def new_run_folder(host: Reader, now: datetime) -> Path:
    """Make `runs/<UTC time>__<id>`; the id tells runs of one second apart, and sorts them. Raises OSError."""
    time = now.astimezone(timezone.utc).strftime("%Y-%m-%dT%H-%M-%SZ")
    folder = runs_folder(host) / f"{time}__{now.microsecond >> 4:04x}{secrets.token_hex(2)}"
    folder.mkdir(parents=True)
    return folder


@contextmanager
def changing_alone(host: Reader) -> Iterator[None]:
    """Let no other fix or undo of this user change the machine meanwhile. Raises HeldError, OSError."""
    now = datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M:%S UTC")
    with held(_lock(host), f"process {os.getpid()}, since {now}", SECONDS_TO_WAIT):
        yield


def is_being_changed(host: Reader) -> bool:
    """Is a fix or an undo of this user at work now?"""
    return is_held(_lock(host))


def _lock(host: Reader) -> Path:
    return state_folder(host) / "changing.lock"
