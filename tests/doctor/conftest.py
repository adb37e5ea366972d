from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import doctor.commands.common
from doctor.check import Check
from doctor.host import Host
from doctor.host.live import live_host
from doctor.host.machine import RecordedMachine
from tests.doctor.fake_machine import FILE_SYSTEM, FakeHost, identity


@pytest.fixture
def host() -> Host:
    """This machine."""
    return live_host()


@pytest.fixture
def machine(tmp_path: Path) -> Callable[..., FakeHost]:
    """Make a machine: long paths off, no C:\\Temp, nothing set for the user; a state folder of its own."""

    def make(elevated: bool = True, **changes: Any) -> FakeHost:
        plain: dict[str, Any] = {
            "identity": identity(elevated=elevated),
            "environment": {"AIOS_HOME": str(tmp_path / "state"), "USERPROFILE": "C:\\Users\\Zoë B"},
            "registry": {FILE_SYSTEM: {"LongPathsEnabled": None}, r"HKCU\Environment": {"TEMP": None}},
            "directories": {"C:\\": [], "C:\\Temp": None, "C:\\Temp\\deep": None},
        }
        return FakeHost(RecordedMachine.model_validate({**plain, **changes}))

    return make


@pytest.fixture
def run_folder(tmp_path: Path) -> Path:
    folder = tmp_path / "run"
    folder.mkdir()
    return folder


@pytest.fixture
def doctor_with(monkeypatch, machine) -> Callable[..., FakeHost]:
    """Let the command see this machine and these checks alone."""

    def install(*checks: Check, host: FakeHost | None = None) -> FakeHost:
        chosen = host or machine()
        monkeypatch.setattr(doctor.commands.common, "CHECKS", checks)
        monkeypatch.setattr(doctor.commands.common, "live_host", lambda: chosen)
        return chosen

    return install
