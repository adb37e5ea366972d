"""The state folder, and a folder for each run."""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from doctor.aios_home import new_run_folder, runs_folder, state_folder
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


def test_runs_of_one_second_sort_as_they_came(host: Host, home: Path) -> None:
    second = datetime(2026, 11, 21, tzinfo=timezone.utc)
    folders = [new_run_folder(host, second + timedelta(milliseconds=n)) for n in (0, 1, 17, 999)]
    assert sorted(folders) == folders
