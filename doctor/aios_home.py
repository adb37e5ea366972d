"""The folder of aios' own files (the capability file, the runs), and the lock that a fix or an undo holds."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime, timezone
from pathlib import Path

import platformdirs

from doctor.host import Reader
from doctor.lock import held, is_held

LOCK = "changing.lock"
SECONDS_TO_WAIT = 2.0  # is_being_changed holds the lock for a moment


def state_folder(host: Reader) -> Path:
    """`AIOS_HOME`, or this user's data folder. `host` is the live one: nothing is saved for a recorded machine."""
    if own := host.variable("AIOS_HOME"):
        return Path(own).absolute()
    folder = Path(platformdirs.user_data_dir("aios", appauthor=False))
    if folder.is_absolute():
        return folder
    return Path(host.identity.home, ".aios")  # seen under Wine: Windows names no folder


def environment_folder(host: Reader) -> Path:
    """The folder for what belongs to one environment: the state folder, or for another Python a folder in it."""
    identity = host.identity
    if not identity.other_python:
        return state_folder(host)
    prefix = identity.path(identity.prefix)
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", prefix.name).strip("-.") or "python"
    digest = hashlib.sha256(os.path.normcase(str(prefix)).encode("utf-8", "backslashreplace")).hexdigest()
    return state_folder(host) / "environments" / f"{name}-{digest[:8]}"


@contextmanager
def changing_alone(host: Reader, *, packages_only: bool = False) -> Iterator[None]:
    """Hold the locks that keep other fixes and undos of this user from running. Raises HeldError, OSError.

    There is a lock for the machine, with the environment of aios, and one for each other environment.
    `packages_only`: nothing but the packages of the environment is changed.
    """
    now = datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M:%S UTC")
    locks = [environment_folder(host) / LOCK]
    if host.identity.other_python and not packages_only:
        locks.append(state_folder(host) / LOCK)
    with ExitStack() as stack:
        for lock in locks:
            stack.enter_context(held(lock, f"process {os.getpid()}, since {now}", SECONDS_TO_WAIT))
        yield


def is_being_changed(host: Reader) -> bool:
    """Whether a fix or an undo of this user is running now."""
    return is_held(environment_folder(host) / LOCK)
