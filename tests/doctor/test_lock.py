"""A lock is held by one process at a time, and released when that process ends."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from doctor.lock import HeldError, held, is_held
from doctor.ownership import ForeignFileError

ROOT = Path(__file__).parents[2]
HOLDER = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from doctor.lock import held
with held(Path(sys.argv[1]), "process 1, since noon"):
    print("held", flush=True)
    sys.stdin.read()
"""


def holder(lock: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(lock), str(ROOT)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout and process.stdout.readline() == "held\n"
    return process


def test_another_process_waits_and_learns_which_process_holds_the_lock(tmp_path: Path) -> None:
    lock = tmp_path / "new folder" / "l"
    with holder(lock) as process:
        assert is_held(lock)
        with pytest.raises(HeldError, match="process 1, since noon"), held(lock, "process 2", 0.2):
            raise AssertionError("two hold it")
        process.communicate("")
    with held(lock, "process 2", 0.0):
        assert (tmp_path / "new folder" / "l.holder").read_text(encoding="utf-8") == "process 2"


def test_a_killed_process_releases_the_lock(tmp_path: Path) -> None:
    with holder(tmp_path / "l") as process:
        process.kill()
        process.wait()
        assert not is_held(tmp_path / "l")
        with held(tmp_path / "l", "process 2", 0.0):
            pass


def test_checking_the_lock_neither_takes_nor_creates_it(tmp_path: Path) -> None:
    assert not is_held(tmp_path / "l")
    assert not (tmp_path / "l").exists()
    with held(tmp_path / "l", "process 2", 0.0):
        pass
    assert not is_held(tmp_path / "l")


def test_a_lock_that_cannot_be_created_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "taken").write_bytes(b"")
    with pytest.raises(OSError), held(tmp_path / "taken" / "l", "process 2", 0.0):
        raise AssertionError("held nothing")


@pytest.mark.parametrize("name", ["l", "l.holder"])
def test_files_of_other_programs_are_left_alone(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"mine")
    with pytest.raises(ForeignFileError, match="is not"), held(tmp_path / "l", "process 1", 0.0):
        raise AssertionError("took a file of somebody else")
    assert not is_held(tmp_path / "l")
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [(name, b"mine")]


@pytest.mark.skipif(os.name == "nt", reason="links need a right on Windows")
def test_a_link_in_place_of_the_lock_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "target").write_bytes(b"mine")
    for name in ("l", "l.holder"):
        (tmp_path / name).symlink_to(tmp_path / "target")
        with pytest.raises(ForeignFileError, match="is a link"), held(tmp_path / "l", "process 1", 0.0):
            raise AssertionError("followed a link")
        (tmp_path / name).unlink()
    assert (tmp_path / "target").read_bytes() == b"mine"
