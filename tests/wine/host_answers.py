"""Print the readings of the live host and those of other sources as JSON. Runs in Windows' Python."""

from __future__ import annotations

import ctypes
import json
import shutil
import sys
import winreg
from ctypes import wintypes
from dataclasses import asdict
from pathlib import Path
from typing import Any

import psutil
from pydantic import BaseModel

from doctor.host import Found
from doctor.host.live import live_host

KEY = r"Software\aios-test-damaged"
DAMAGED = {  # name → (type, data)
    "number of 3 bytes": (4, b"\1\2\3"),
    "number of none": (4, b""),
    "number of 8 bytes": (4, bytes(8)),
    "long number of 4 bytes": (11, bytes(4)),
    "text of odd length": (1, b"a\0b\0c"),
    "texts of odd length": (7, b"a\0\0"),
    "lone surrogate": (1, b"\x00\xd8\0\0"),
    "a type of no setting": (5, bytes(4)),
    "text without an end": (1, b"a\0b\0"),
    "empty text": (1, b""),
    "whole": (4, b"\1\0\0\0"),
}


class FixedFileInfo(ctypes.Structure):
    """VS_FIXEDFILEINFO."""

    _fields_ = tuple(
        (name, wintypes.DWORD) for name in ("signature", "structure", "high", "low", *map(str, range(9)))
    )


def version_by_windows(path: str) -> str | None:
    """The file version as version.dll reads it."""
    library = ctypes.WinDLL("version")
    size = library.GetFileVersionInfoSizeW(path, None)
    if not size:
        return None
    data, length = ctypes.create_string_buffer(size), wintypes.UINT()
    library.GetFileVersionInfoW(path, 0, size, data)
    found = ctypes.POINTER(FixedFileInfo)()
    library.VerQueryValueW(data, "\\", ctypes.byref(found), ctypes.byref(length))
    info = found.contents
    return f"{info.high >> 16}.{info.high & 0xFFFF}.{info.low >> 16}.{info.low & 0xFFFF}"


def plain(reading: Any) -> Any:
    """A reading as JSON: [its kind, its value or reason]."""
    if not isinstance(reading, Found):
        return [type(reading).__name__, asdict(reading).get("reason")]
    value = reading.value
    return ["Found", value.model_dump() if isinstance(value, BaseModel) else value]


def damaged() -> dict[str, Any]:
    """The readings of damaged registry values, which are created for this and then deleted."""
    host, library = live_host(), ctypes.WinDLL("advapi32")
    with winreg.CreateKey(winreg.HKEY_CURRENT_USER, KEY) as key:
        for name, (kind, data) in DAMAGED.items():
            library.RegSetValueExW(wintypes.HKEY(int(key)), name, 0, kind, data, len(data))
    try:
        return {name: plain(host.registry_value(rf"HKCU\{KEY}", name)) for name in DAMAGED}
    finally:
        winreg.DeleteKey(winreg.HKEY_CURRENT_USER, KEY)


def main() -> None:
    host = live_host()
    system = Path(str(host.variable("SystemRoot"))) / "System32"
    binaries = [sys.executable, *(str(system / name) for name in ("kernel32.dll", "advapi32.dll", "cmd.exe"))]
    paths = {
        "home": host.identity.home,
        "new": str(Path(host.identity.home) / "not" / "there"),
        "none": "Q:\\x",
    }
    memory, disk = psutil.virtual_memory(), shutil.disk_usage(host.identity.home)
    drives = {drive.mountpoint: [drive.fstype, drive.opts] for drive in psutil.disk_partitions(all=True)}
    answers = {
        "volumes": {name: plain(host.volume(path)) for name, path in paths.items()},
        "memory": plain(host.memory()),
        "boot_time": plain(host.boot_time()),
        "binaries": {path: plain(host.binary(path)) for path in binaries},
        "programs_using": plain(host.programs_using(host.identity.home)),
        "processors": host.identity.processor_count,
        "damaged": damaged(),
    }
    others = {
        "disk": [disk.total, disk.free],
        "drives": drives,
        "memory": memory.total,
        "boot_time": psutil.boot_time(),
        "versions": {path: version_by_windows(path) for path in binaries},
        "processors": psutil.cpu_count(),
    }
    print(json.dumps({"answers": answers, "others": others}))  # noqa: T201


if __name__ == "__main__":
    main()
