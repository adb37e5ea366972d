"""Commands that run for long: started in the background, they outlive the page and `aios gui`, and are found again by it."""

from __future__ import annotations

import json
import os
import re
import secrets
import subprocess
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from pathlib import Path

import psutil

from doctor.aios_home import state_folder
from doctor.bounded import open_regular, parse_json, read_bytes
from doctor.files import write_atomically
from doctor.host.live import live_host
from gui.operations import NO_WINDOW, Command, environment

RECORD, OUTPUT = "job.json", "output.txt"
NAME = re.compile(r"\d{8}T\d{6}-[0-9a-f]{8}")
KEPT = 50  # records of jobs that have ended
TAIL = 1 << 16  # bytes of output that a page shows
# Windows: Ctrl-C in the window of `aios gui` does not reach the command
NEW_SESSION = getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0)
_children: dict[int, subprocess.Popen[bytes]] = {}  # of this process, by id


@dataclass(frozen=True)
class Job:
    """A command that was started in the background.

    Attributes:
        words: of the command, after `aios`.
        pid, born: of the process: its id, and its creation time, since ids are used again.
        place: the folder that it was started in.
        result: the folder or file that it writes to, as given on its command line.
    """

    folder: str
    words: tuple[str, ...]
    pid: int
    born: float
    place: str
    result: str

    @property
    def command(self) -> Command:
        return Command(self.words)

    @property
    def result_path(self) -> Path:
        return Path(self.place, self.result)

    @property
    def status(self) -> int | None:
        """The exit status; None while it runs, or if another process started it."""
        child = _children.get(self.pid)
        return child.poll() if child else None

    @property
    def is_running(self) -> bool:
        if self.status is not None:
            return False
        with suppress(psutil.Error):
            process = psutil.Process(self.pid)
            same = abs(process.create_time() - self.born) < 1
            return same and process.status() != psutil.STATUS_ZOMBIE
        return False

    @property
    def output(self) -> str:
        """The end of what it has printed."""
        try:
            with open_regular(Path(self.folder, OUTPUT)) as file:
                file.seek(max(0, os.fstat(file.fileno()).st_size - TAIL))
                return file.read(TAIL).decode("utf-8", "replace").replace("\r\n", "\n")
        except OSError:
            return ""

    def kill(self) -> None:
        """End it and its child processes now."""
        if self.is_running:
            kill(self.pid)


def start(asked: Command, result: str) -> Job:
    """Start a command in the background. Raises OSError."""
    now = datetime.now(timezone.utc).strftime("%Y%m%dT%H%M%S")
    folder = _folder() / f"{now}-{secrets.token_hex(4)}"
    folder.mkdir(parents=True)
    with (folder / OUTPUT).open("wb") as output:
        child = subprocess.Popen(
            asked.arguments,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=environment(),
            creationflags=NEW_SESSION | NO_WINDOW,
            start_new_session=True,
        )
    _children[child.pid] = child
    job = Job(str(folder), asked.words, child.pid, _creation_time(child.pid), str(Path.cwd()), result)
    write_atomically(folder / RECORD, json.dumps(asdict(job), indent=2).encode())
    _delete_old()
    return job


def jobs() -> list[Job]:
    """All recorded jobs, the newest first."""
    return [job for folder in _folders() if (job := _read(folder))]


def newest(result: Path) -> Job | None:
    """The newest job that writes to a folder or file."""
    wanted = result.absolute()
    return next((job for job in jobs() if job.result_path == wanted), None)


def kill(pid: int) -> None:
    """End a process and its child processes now."""
    with suppress(psutil.Error):
        process = psutil.Process(pid)
        for each in [*process.children(recursive=True), process]:
            with suppress(psutil.Error):
                each.kill()


def _creation_time(pid: int) -> float:
    with suppress(psutil.Error):
        return float(psutil.Process(pid).create_time())
    return 0.0


def _folder() -> Path:
    return state_folder(live_host()) / "gui" / "jobs"


def _folders() -> list[Path]:
    with suppress(OSError):
        return sorted((each for each in _folder().iterdir() if NAME.fullmatch(each.name)), reverse=True)
    return []


def _read(folder: Path) -> Job | None:
    try:
        found = parse_json(read_bytes(folder / RECORD).decode("utf-8"))
        return Job(**{**found, "folder": str(folder), "words": tuple(map(str, found["words"]))})
    except (OSError, ValueError, TypeError, KeyError):
        return None


def _delete_old() -> None:
    for folder in _folders()[KEPT:]:
        job = _read(folder)
        if job is None or not job.is_running:
            for name in (OUTPUT, RECORD):
                with suppress(OSError):
                    (folder / name).unlink()
            with suppress(OSError):
                folder.rmdir()
