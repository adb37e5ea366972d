"""A small recorded Windows machine, written by hand."""

from __future__ import annotations

import pytest

from doctor.host import Identity
from doctor.host.machine import RecordedMachine


@pytest.fixture
def windows(windows_identity: Identity) -> RecordedMachine:
    """A Windows machine with entries of each kind: found, absent (null) and unreadable."""
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
