"""The other Python programs that have files of a folder loaded, which therefore cannot be replaced."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil

from doctor.host.base import RunningProgram
from doctor.host.deadline import limited
from doctor.host.readings import Found, Reading, Unreadable, as_unicode

TIMEOUT = 5.0  # seconds for all processes


def read_programs_using(folder: str) -> Reading[tuple[RunningProgram, ...]]:
    """Return the Python programs that have files below the folder loaded, except this one, its parents and its children.

    The programs of other users are missing, because only an administrator can inspect them.
    """
    deadline = time.monotonic() + limited(TIMEOUT)
    family = _family()
    found = []
    for process in psutil.process_iter():
        if time.monotonic() > deadline:
            return Unreadable("not all programs could be inspected in time")
        try:
            if process.pid not in family and _is_python_with(process, folder):
                found.append(RunningProgram(pid=process.pid, name=as_unicode(process.name())))
        except (psutil.Error, OSError):  # it has ended, or belongs to another user
            continue
    return Found(tuple(found))


def _family() -> set[int]:
    ours = psutil.Process()
    try:
        return {ours.pid, *(p.pid for p in (*ours.parents(), *ours.children(recursive=True)))}
    except (psutil.Error, OSError):
        return {ours.pid}


def _is_python_with(process: psutil.Process, folder: str) -> bool:
    # By the file name: the process of torchrun is called torchrun.
    return "python" in Path(process.exe()).name.casefold() and any(
        Path(path).is_relative_to(folder) for path in _loaded(process.pid)
    )


if sys.platform == "linux":

    def _loaded(pid: int) -> Iterator[str]:
        lines = Path(f"/proc/{pid}/maps").read_text("utf-8", errors="surrogateescape").splitlines()
        # address, permissions, offset, device, inode, path
        return (words[5] for words in (line.split(maxsplit=5) for line in lines) if len(words) > 5)

else:

    def _loaded(pid: int) -> Iterator[str]:
        return (loaded.path for loaded in psutil.Process(pid).memory_maps(grouped=True))
