"""Run folders: their names, and where they are."""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from doctor.host import Host
from doctor.runs.run_folders import new_run_folder, runs_folder


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("AIOS_HOME", str(tmp_path / "hóme of x"))
    return tmp_path / "hóme of x"


def test_each_run_has_a_folder_whose_name_sorts_by_time(host: Host, home: Path) -> None:
    now = datetime(2026, 11, 21, 23, 30, tzinfo=timezone(timedelta(hours=-5)))
    first, twin = new_run_folder(host, now), new_run_folder(host, now)
    later = new_run_folder(host, now + timedelta(seconds=1))
    assert first != twin and sorted([later, twin, first])[-1] == later
    assert first.is_dir() and first.parent == runs_folder(host) == home / "runs"
    assert re.fullmatch(r"2026-11-22T04-30-00Z__[0-9a-f]{8}", first.name)


def test_runs_of_the_same_second_sort_by_time(host: Host, home: Path) -> None:
    second = datetime(2026, 11, 21, tzinfo=timezone.utc)
    folders = [new_run_folder(host, second + timedelta(milliseconds=n)) for n in (0, 1, 17, 999)]
    assert sorted(folders) == folders
