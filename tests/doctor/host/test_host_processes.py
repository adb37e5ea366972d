"""Other programs that have a folder's files loaded are found, without this one, which started them."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from doctor.host import Found, Host, RunningProgram, Unreadable, processes


def loaded_files_are_hidden() -> bool:
    """macOS does not list loaded files, and Wine does not list programs."""
    try:
        return sys.platform == "darwin" or not psutil.Process().exe()
    except OSError:
        return True


pytestmark = pytest.mark.skipif(
    loaded_files_are_hidden(), reason="this system does not list the files that programs have loaded"
)

HOLD = "import mmap, os, sys, time; f = open(sys.argv[1], 'rb'); m = mmap.mmap(f.fileno(), 0, access=1); "
WAIT = "open(sys.argv[2], 'w').write(str(os.getpid())); time.sleep(3600)"
# Started by a program that has ended, so it is not a child process of the doctor
DETACHED = "import subprocess, sys; subprocess.Popen([sys.executable, '-c', *sys.argv[1:]])"


@pytest.fixture
def held(tmp_path: Path) -> Iterator[Callable[[bool], int]]:
    """Start a Python that has lib/library.bin loaded, and return its process id."""
    folder, note = tmp_path / "lib ż", tmp_path / "pid"
    folder.mkdir()
    (folder / "library.bin").write_bytes(bytes(4096))
    pids, started = [], []

    def hold(detached: bool) -> int:
        command = [HOLD + WAIT, str(folder / "library.bin"), str(note)]
        code = [DETACHED, *command] if detached else command
        process = subprocess.Popen([sys.executable, "-c", *code], start_new_session=os.name != "nt")
        started.append(process)
        if detached:
            process.wait()
        while not (note.is_file() and (text := note.read_text())):
            time.sleep(0.05)
        pids.append(int(text))
        return pids[-1]

    yield hold
    for pid in pids:
        psutil.Process(pid).kill()
    for process in started:
        process.wait()


def test_another_python_is_found_by_a_file_that_it_has_loaded(
    host: Host, tmp_path: Path, held: Callable[[bool], int]
) -> None:
    pid = held(True)
    assert host.programs_using(str(tmp_path / "nothing")) == Found(())
    assert host.programs_using(str(tmp_path / "li")) == Found(())
    reading = host.programs_using(str(tmp_path / "lib ż"))
    assert isinstance(reading, Found)
    assert [program.pid for program in reading.value] == [pid]
    assert "python" in reading.value[0].name.casefold()


def test_its_own_children_do_not_count(host: Host, tmp_path: Path, held: Callable[[bool], int]) -> None:
    held(False)
    assert host.programs_using(str(tmp_path / "lib ż")) == Found(())


def no_family() -> set[int]:
    return set()


def test_this_python_is_inspected_like_another_one(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """The files that this program has loaded, inspected like those of another one."""
    monkeypatch.setattr(psutil, "process_iter", lambda: iter([psutil.Process()]))
    monkeypatch.setattr(processes, "_family", no_family)
    expected = RunningProgram(pid=os.getpid(), name=psutil.Process().name())
    assert host.programs_using(sys.base_prefix) == Found((expected,))


@pytest.mark.parametrize("error", [psutil.NoSuchProcess(1), psutil.AccessDenied(1), OSError(87, "no")])
def test_a_program_that_cannot_be_inspected_is_skipped(
    host: Host, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """It has ended meanwhile, or belongs to another user."""

    def refuse(pid: int) -> list[str]:
        raise error

    monkeypatch.setattr(psutil, "process_iter", lambda: iter([psutil.Process()]))
    monkeypatch.setattr(processes, "_family", no_family)
    monkeypatch.setattr(processes, "_loaded", refuse)
    assert host.programs_using(sys.base_prefix) == Found(())


def test_the_search_stops_at_its_time_limit(
    host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "TIMEOUT", -1.0)
    assert isinstance(host.programs_using(str(tmp_path)), Unreadable)
