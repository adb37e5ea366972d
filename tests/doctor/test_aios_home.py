"""The doctor's own files are there whole or not at all."""

from __future__ import annotations

import os
import re
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from doctor.aios_home import new_run_folder, runs_folder, state_folder
from doctor.files import write_atomically
from doctor.host import Host


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("AIOS_HOME", str(tmp_path / "hóme of x"))
    return tmp_path / "hóme of x"


def test_aios_home_decides(host: Host, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert state_folder(host) == home
    monkeypatch.delenv("AIOS_HOME")
    assert state_folder(host).is_absolute() and state_folder(host).name == "aios"
    monkeypatch.setenv("AIOS_HOME", "relative")
    assert state_folder(host) == Path.cwd() / "relative"


def test_a_system_that_does_not_say_where_data_goes_does_not_make_it_go_anywhere(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Seen under Wine as an ordinary user: Windows names no folder, and platformdirs makes that `.\\aios`."""
    monkeypatch.delenv("AIOS_HOME", raising=False)
    monkeypatch.setattr("doctor.aios_home.platformdirs.user_data_dir", lambda *_, **__: "./aios")
    assert state_folder(host) == Path(host.identity.home, ".aios")


def test_runs_have_folders_of_their_own_that_sort_by_time(host: Host, home: Path) -> None:
    now = datetime(2026, 11, 21, 23, 30, tzinfo=timezone(timedelta(hours=-5)))
    first, twin = new_run_folder(host, now), new_run_folder(host, now)
    later = new_run_folder(host, now + timedelta(seconds=1))
    assert first != twin and sorted([later, twin, first])[-1] == later
    assert first.is_dir() and first.parent == runs_folder(host) == home / "runs"
    assert re.fullmatch(r"2026-11-22T04-30-00Z__[0-9a-f]{8}", first.name)


def test_a_file_is_replaced_whole(tmp_path: Path) -> None:
    file = tmp_path / "new folder" / "f.json"
    write_atomically(file, b"one")
    write_atomically(file, b"\x00two\r\n")
    assert file.read_bytes() == b"\x00two\r\n"
    assert list(file.parent.iterdir()) == [file]


def test_a_failure_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "f.json"
    write_atomically(file, b"old")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_atomically(file, b"new")
    assert file.read_bytes() == b"old" and list(tmp_path.iterdir()) == [file]


def test_a_folder_in_the_way_is_an_error_and_nothing_is_left(tmp_path: Path) -> None:
    (tmp_path / "taken").mkdir()
    with pytest.raises(OSError):
        write_atomically(tmp_path / "taken", b"x")
    assert list(tmp_path.iterdir()) == [tmp_path / "taken"]


def test_a_scanner_that_holds_the_file_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """os.replace meets a sharing violation on Windows while something else has the file open."""
    attempts = []
    replace = Path.replace

    def held_twice(self: Path, target: Path) -> Path:
        attempts.append(self)
        if len(attempts) < 3:
            raise PermissionError(13, "The process cannot access the file")
        return replace(self, target)

    monkeypatch.setattr("doctor.files.RETRIES", 20)
    monkeypatch.setattr(Path, "replace", held_twice)
    write_atomically(tmp_path / "f", b"x")
    assert (tmp_path / "f").read_bytes() == b"x" and len(attempts) == 3


@pytest.mark.skipif(os.name == "nt", reason="Windows gives a file the rights of its folder")
def test_what_is_written_was_for_its_owner_alone_whatever_the_umask_said(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        write_atomically(tmp_path / "new", b"")
        (tmp_path / "secret").touch(mode=0o600)
        write_atomically(tmp_path / "secret", b"")
    finally:
        os.umask(before)
    assert (tmp_path / "new").stat().st_mode & 0o777 == 0o644
    assert (tmp_path / "secret").stat().st_mode & 0o777 == 0o600


def test_runs_of_one_second_sort_as_they_came(host: Host, home: Path) -> None:
    second = datetime(2026, 11, 21, tzinfo=timezone.utc)
    folders = [new_run_folder(host, second + timedelta(milliseconds=n)) for n in (0, 1, 17, 999)]
    assert sorted(folders) == folders
