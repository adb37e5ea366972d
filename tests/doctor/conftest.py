from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import doctor.commands.common
from doctor.check import Check
from doctor.host.machine import RecordedMachine
from tests.doctor.pretended import FILE_SYSTEM, PretendedHost, identity


@pytest.fixture
def machine(tmp_path: Path) -> Callable[..., PretendedHost]:
    """Make a machine: long paths off, no C:\\Temp, nothing set for the user; a state folder of its own."""

    def make(elevated: bool = True, **changes: Any) -> PretendedHost:
        plain: dict[str, Any] = {
            "identity": identity(elevated=elevated),
            "environment": {"AIOS_HOME": str(tmp_path / "state"), "USERPROFILE": "C:\\Users\\Zoë B"},
            "registry": {FILE_SYSTEM: {"LongPathsEnabled": None}, r"HKCU\Environment": {"TEMP": None}},
            "directories": {"C:\\": [], "C:\\Temp": None, "C:\\Temp\\deep": None},
        }
        return PretendedHost(RecordedMachine.model_validate({**plain, **changes}))

    return make


@pytest.fixture
def run_folder(tmp_path: Path) -> Path:
    folder = tmp_path / "run"
    folder.mkdir()
    return folder


@pytest.fixture
def doctor_with(monkeypatch, machine) -> Callable[..., PretendedHost]:
    """Let the command see this machine and these checks alone."""

    def install(*checks: Check, host: PretendedHost | None = None) -> PretendedHost:
        chosen = host or machine()
        monkeypatch.setattr(doctor.commands.common, "CHECKS", checks)
        monkeypatch.setattr(doctor.commands.common, "live_host", lambda: chosen)
        return chosen

    return install
