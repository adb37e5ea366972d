"""Where the doctor keeps its own files: the capability file and a folder for each run."""

from __future__ import annotations

import secrets
from datetime import datetime, timezone
from pathlib import Path

import platformdirs

from doctor.host import Host


def state_folder(host: Host) -> Path:
    """`AIOS_HOME`, else this user's data folder. `host` is the live one: a recorded machine keeps no files here."""
    if own := host.variable("AIOS_HOME"):
        return Path(own).absolute()
    folder = Path(platformdirs.user_data_dir("aios", appauthor=False))
    if folder.is_absolute():
        return folder
    return Path(host.identity.home, ".aios")  # Windows would not say: the answer is relative to anywhere


def runs_folder(host: Host) -> Path:
    """Holds a folder for each run; their names sort by time."""
    return state_folder(host) / "runs"


def new_run_folder(host: Host, now: datetime) -> Path:
    """Make `runs/<UTC time>__<id>`; runs that start in the same second get folders of their own. Raises OSError."""
    time = now.astimezone(timezone.utc).strftime("%Y-%m-%dT%H-%M-%SZ")
    folder = runs_folder(host) / f"{time}__{secrets.token_hex(4)}"
    folder.mkdir(parents=True)
    return folder
