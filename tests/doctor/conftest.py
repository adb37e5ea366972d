from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import doctor.commands.common
from doctor.check import Check
from doctor.host import Host, Identity
from doctor.host.live import live_host
from doctor.host.machine import RecordedMachine
from tests.doctor.fake_machine import FILE_SYSTEM, FakeHost, identity

PYTHON: dict[str, Any] = {
    "python": "3.12.4",
    "python_implementation": "CPython",
    "python_bits": 64,
    "python_free_threaded": False,
}


FILE_SYSTEMS = {"btrfs": "mkfs.btrfs", "xfs": "mkfs.xfs"}
VOLUME_SIZE = 320 * 2**20  # bytes; the file is sparse. XFS takes no smaller volume than 300 MiB


@pytest.fixture
def host() -> Host:
    """This machine."""
    return live_host()


@pytest.fixture
def windows_identity() -> Identity:
    return Identity(
        **PYTHON,
        os="windows",
        os_build="10.0.22631",
        architecture="AMD64",
        elevated=True,
        wsl=False,
        ansi_code_page=1252,
        oem_code_page=437,
        python_platform="win_amd64",
        executable=r"C:\Users\Zoë B\venv\Scripts\python.exe",
        prefix=r"C:\Users\Zoë B\venv",
        base_prefix=r"C:\Python312",
        site_packages=r"C:\Users\Zoë B\venv\Lib\site-packages",
        home=r"C:\Users\Zoë B",
        user="Zoë B",
        host_name="CANARY-PC",
    )


@pytest.fixture
def linux_identity() -> Identity:
    return Identity(
        **PYTHON,
        os="linux",
        os_build="6.8.0",
        architecture="x86_64",
        elevated=False,
        wsl=False,
        ansi_code_page=None,
        oem_code_page=None,
        python_platform="linux_x86_64",
        executable="/home/canary/venv/bin/python",
        prefix="/home/canary/venv",
        base_prefix="/usr",
        site_packages="/home/canary/venv/lib/python3.12/site-packages",
        home="/home/canary",
        user="canary",
        host_name="canary-box.example.org",
    )


@pytest.fixture
def machine(tmp_path: Path) -> Callable[..., FakeHost]:
    """Make a machine with long paths off, no C:\\Temp, no user settings, and a state folder of its own."""

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
    """Make the command use this machine and only these checks."""

    def install(*checks: Check, host: FakeHost | None = None) -> FakeHost:
        chosen = host or machine()
        monkeypatch.setattr(doctor.commands.common, "CHECKS", checks)
        monkeypatch.setattr(doctor.commands.common, "live_host", lambda: chosen)
        return chosen

    return install


@pytest.fixture(params=FILE_SYSTEMS)
def volume(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """An empty volume of that file system, mounted from a file."""
    maker = shutil.which(FILE_SYSTEMS[request.param], path=os.defpath + ":/sbin:/usr/sbin")
    if sys.platform != "linux" or os.geteuid() != 0:
        pytest.skip("only root on Linux can mount a volume")
    if maker is None:
        pytest.skip(f"this machine has no {FILE_SYSTEMS[request.param]}")
    image, folder = tmp_path / "image", tmp_path / "volume"
    with image.open("wb") as file:
        file.truncate(VOLUME_SIZE)
    folder.mkdir()
    subprocess.run([maker, "-q", image], check=True, capture_output=True)
    mounted = subprocess.run(["mount", "-o", "loop", image, folder], capture_output=True, text=True)
    if mounted.returncode:
        pytest.skip(f"this machine mounts no volume: {mounted.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", folder], check=True)
