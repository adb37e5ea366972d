"""The state folder, and a folder for each run."""

from __future__ import annotations

from pathlib import Path

import pytest

from doctor.aios_home import state_folder
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


def test_without_a_data_folder_of_the_system_the_home_folder_is_used(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Under Wine, as an ordinary user, Windows names no folder, and platformdirs returns `.\\aios`."""
    monkeypatch.delenv("AIOS_HOME", raising=False)
    monkeypatch.setattr("doctor.aios_home.platformdirs.user_data_dir", lambda *_, **__: "./aios")
    assert state_folder(host) == Path(host.identity.home, ".aios")
