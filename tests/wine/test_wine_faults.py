"""Fixes on the live registry that are killed, or that run at the same time as another one."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path

import pytest

from tests.wine.windows_box import HERE, LONG_PATHS, REG_DWORD, Aios, Registry, Windows

pytestmark = pytest.mark.wine

ONLY = ["--only", "long-paths", "--only", "temp-dir"]
HOLD = """
import sys, time
from pathlib import Path
from doctor.lock import held
begun = Path(sys.argv[2])
with held(Path(sys.argv[1]), "process 1, since noon"):
    begun.touch()
    while begun.exists():
        time.sleep(0.1)
"""


@pytest.fixture
def temp(registry: Registry, windows: Windows) -> Path:
    """`C:\\Temp`, which does not exist, and long paths turned off."""
    if not windows.is_wine:
        pytest.skip("a real user's C:\\Temp and TEMP are not changed")
    registry.change((*LONG_PATHS, None, None))
    drive_c = windows.user_folder().parents[1]
    assert not (drive_c / "Temp").exists()
    return drive_c / "Temp"


def killed(windows: Windows, workplace: Path, lines: int) -> bool:
    """Fix, and kill the process when its journal has this many lines. Return whether it was still running."""
    journal = windows.path(workplace / "state") + r"\runs\*\actions.jsonl"
    command = ["python", windows.path(HERE / "kill_when_written.py"), journal, str(lines)]
    fix = ["python", "-m", "aios", "doctor", "--fix", "--yes", *ONLY]
    done = windows.run([*command, *fix], environment={"AIOS_HOME": windows.path(workplace / "state")})
    return done.returncode == 0


def reminders(aios: Aios) -> list[str]:
    reminded: list[str] = json.loads(aios("doctor", "--json", *ONLY).stdout)["reminders"]
    return reminded


@pytest.mark.parametrize(
    "lines", [pytest.param(1, marks=pytest.mark.long), 2, pytest.param(4, marks=pytest.mark.long)]
)
def test_a_killed_fix_is_undone_exactly(
    aios: Aios, windows: Windows, workplace: Path, registry: Registry, temp: Path, lines: int
) -> None:
    before = registry.snapshot()
    interrupted = killed(windows, workplace, lines)
    if interrupted and (reminded := reminders(aios)):
        assert "A fix was interrupted" in reminded[0]
    while b"nothing to undo" not in (undone := aios("doctor", "undo")).stdout:
        assert undone.returncode == 0, undone.stdout
    assert registry.snapshot() == before
    assert not temp.exists()
    assert reminders(aios) == []


def test_a_killed_fix_is_finished_by_the_next(
    aios: Aios, windows: Windows, workplace: Path, registry: Registry, temp: Path
) -> None:
    before = registry.snapshot()
    killed(windows, workplace, lines=3)
    assert aios("doctor", "--fix", "--yes", *ONLY).returncode == 0
    assert registry.value(*LONG_PATHS) == [REG_DWORD, 1]
    assert temp.is_dir()
    assert reminders(aios) == []
    while b"nothing to undo" not in (undone := aios("doctor", "undo")).stdout:
        assert undone.returncode == 0, undone.stdout
    assert registry.snapshot() == before
    assert not temp.exists()


def test_of_two_simultaneous_fixes_the_second_names_the_first(
    aios: Aios, windows: Windows, workplace: Path, registry: Registry, temp: Path
) -> None:
    before = registry.snapshot()
    script, begun = workplace / "hold.py", workplace / "begun"
    script.write_text(HOLD, encoding="utf-8")
    lock = windows.path(workplace / "state" / "changing.lock")
    command = ["python", windows.path(script), lock, windows.path(begun)]
    first = threading.Thread(target=windows.run, args=(command,))
    first.start()
    while not begun.exists():
        assert first.is_alive()
        time.sleep(0.1)
    done = aios("doctor", "--fix", "--yes", "--only", "long-paths")
    assert done.returncode == 4
    assert b"another run of aios (process " in done.stdout and b"since noon" in done.stdout
    assert registry.snapshot() == before
    assert aios("doctor", "--only", "long-paths").returncode == 1, "a diagnosis needs no lock"
    begun.unlink()
    first.join()
    assert aios("doctor", "--fix", "--yes", "--only", "long-paths").returncode == 0
