"""The Windows registry: values with their exact type, in the 64-bit view."""

from __future__ import annotations

import ctypes
import sys
from typing import Any

from doctor.host.base import RegistryType, RegistryValue
from doctor.host.readings import Absent, Found, Reading, Unreadable, as_unicode

assert sys.platform == "win32"

import winreg  # noqa: E402
from ctypes import wintypes  # noqa: E402

ROOTS = {"HKLM": winreg.HKEY_LOCAL_MACHINE, "HKCU": winreg.HKEY_CURRENT_USER}
READ = winreg.KEY_READ | winreg.KEY_WOW64_64KEY
WRITE = winreg.KEY_SET_VALUE | winreg.KEY_WOW64_64KEY
TYPES: dict[RegistryType, int] = {
    "REG_NONE": winreg.REG_NONE,
    "REG_SZ": winreg.REG_SZ,
    "REG_EXPAND_SZ": winreg.REG_EXPAND_SZ,
    "REG_BINARY": winreg.REG_BINARY,
    "REG_DWORD": winreg.REG_DWORD,
    "REG_MULTI_SZ": winreg.REG_MULTI_SZ,
    "REG_QWORD": winreg.REG_QWORD,
}
NAMES = {number: name for name, number in TYPES.items()}
BYTES: dict[RegistryType, int] = {"REG_DWORD": 4, "REG_QWORD": 8}
TEXTS = ("REG_SZ", "REG_EXPAND_SZ", "REG_MULTI_SZ")


def _parts(key: str) -> tuple[int, str]:
    root, _, path = key.partition("\\")
    return ROOTS[root.upper()], path


def read_value(key: str, name: str) -> Reading[RegistryValue]:
    """Return a value below `HKLM\\` or `HKCU\\`."""
    root, path = _parts(key)
    try:
        with winreg.OpenKeyEx(root, path, 0, READ) as handle:
            data, number = winreg.QueryValueEx(handle, name)
            size = _size(handle, name)
    except FileNotFoundError:
        return Absent()
    except (OSError, ValueError) as error:
        return Unreadable.because(error)
    if number not in NAMES:
        return Unreadable(f"unsupported registry type {number}")
    kind = NAMES[number]
    if size != BYTES.get(kind, size) or (kind in TEXTS and size % 2):
        return Unreadable(f"{size} bytes are not a {kind}")  # winreg would return a value nevertheless
    try:
        return Found(RegistryValue(type=kind, value=_from_windows(data)))
    except ValueError:
        return Unreadable("its text is not valid Unicode")


def read_subkeys(key: str) -> Reading[tuple[str, ...]]:
    """Return the names of the keys directly below a key."""
    root, path = _parts(key)
    try:
        with winreg.OpenKeyEx(root, path, 0, READ) as handle:
            count, _, _ = winreg.QueryInfoKey(handle)
            return Found(tuple(as_unicode(winreg.EnumKey(handle, index)) for index in range(count)))
    except FileNotFoundError:
        return Absent()
    except (OSError, ValueError) as error:
        return Unreadable.because(error)


def write_value(key: str, name: str, value: RegistryValue | None) -> None:
    """Set a value, creating its key if necessary; None removes the value. Raises OSError."""
    root, path = _parts(key)
    if value is None:
        with winreg.OpenKeyEx(root, path, 0, WRITE) as handle:
            winreg.DeleteValue(handle, name)
    else:
        with winreg.CreateKeyEx(root, path, 0, WRITE) as handle:
            winreg.SetValueEx(handle, name, 0, TYPES[value.type], _to_windows(value))


def _size(handle: winreg.HKEYType, name: str) -> int:
    """The size of a value in bytes, which winreg does not return."""
    size = wintypes.DWORD()
    query = ctypes.WinDLL("advapi32").RegQueryValueExW
    query(wintypes.HKEY(int(handle)), wintypes.LPCWSTR(name), None, None, None, ctypes.byref(size))
    return size.value


def _from_windows(data: Any) -> int | str | tuple[str, ...]:
    if data is None or isinstance(data, bytes):
        return (data or b"").hex()
    return tuple(data) if isinstance(data, list) else data


def _to_windows(value: RegistryValue) -> Any:
    if value.type in ("REG_BINARY", "REG_NONE"):
        return bytes.fromhex(str(value.value))
    return list(value.value) if isinstance(value.value, tuple) else value.value
