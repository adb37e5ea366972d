"""Small recorded machines, written by hand."""

from __future__ import annotations

from typing import Any

import pytest

from doctor.host import Identity
from doctor.host.machine import RecordedMachine

PYTHON: dict[str, Any] = {
    "python": "3.12.4",
    "python_implementation": "CPython",
    "python_bits": 64,
    "python_free_threaded": False,
}


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
def windows(windows_identity: Identity) -> RecordedMachine:
    """A Windows machine with a little of everything: there, absent (null), and unreadable."""
    return RecordedMachine.model_validate(
        {
            "identity": windows_identity,
            "environment": {"Path": r"C:\Windows;C:\Git\cmd", "TEMP": r"C:\Users\Zoë B\Temp", "EMPTY": None},
            "registry": {
                r"HKLM\SYSTEM\FileSystem": {
                    "LongPathsEnabled": None,
                    "Locked": {"unreadable": "access denied"},
                },
                r"HKCU\Environment": {"TEMP": {"type": "REG_EXPAND_SZ", "value": r"%USERPROFILE%\Temp"}},
            },
            "registry_subkeys": {r"HKLM\SOFTWARE\Python": ["PythonCore"], r"HKLM\SOFTWARE\None": None},
            "files": {r"C:\notes.txt": {"text": "héllo"}, r"C:\raw": {"base64": "/w=="}, r"C:\gone": None},
            "directories": {"C:\\": ["Users", "notes.txt", "raw"], r"C:\Temp": None, r"C:\Temp\deep": None},
            "programs": {"git": r"C:\Git\cmd\git.exe", "nvcc": None},
            "runs": {
                "git --version": {"exit_code": 0, "stdout": "git version 2.47\n"},
                "nvcc --version": {"exit_code": 0},
                "python -c pass": {"exit_code": 0},
                "git fsck": {"unreadable": "git.exe did not answer within 10 s"},
            },
            "distributions": {"flash_attn": {"name": "flash-attn", "version": "2.8.3", "location": "C:\\x"}},
            "git_settings": {"core.longpaths": None},
        }
    )
