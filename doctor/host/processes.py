"""Which other Python programs hold files of a folder: what is loaded there cannot be replaced."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil

from doctor.host.base import RunningProgram
from doctor.host.deadline import in_time
from doctor.host.readings import Found, Reading, Unreadable, as_unicode

PATIENCE = 5.0  # seconds for all of them


def read_programs_using(folder: str) -> Reading[tuple[RunningProgram, ...]]:
    """The Python programs that have files below the folder loaded, but for this one, its parents and its children.

    What other users run can be seen by an administrator alone, and is left out.
    """
    deadline = time.monotonic() + in_time(PATIENCE)
    family = _family()
    found = []
    for process in psutil.process_iter():
        if time.monotonic() > deadline:
            return Unreadable("there was no time to look at every program")
        try:
            if process.pid not in family and _is_python_with(process, folder):
                found.append(RunningProgram(pid=process.pid, name=as_unicode(process.name())))
        except (psutil.Error, OSError):  # it ended, or is another user's
            continue
    return Found(tuple(found))


def _family() -> set[int]:
    ours = psutil.Process()
    try:
        return {ours.pid, *(p.pid for p in (*ours.parents(), *ours.children(recursive=True)))}
    except (psutil.Error, OSError):
        return {ours.pid}


def _is_python_with(process: psutil.Process, folder: str) -> bool:
    # Its file's name: torchrun calls itself so, but is a Python.
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
