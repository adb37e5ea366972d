"""Windows: the identity without WMI, the registry, the broadcast of changes, the elevation prompt."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from functools import cached_property

from doctor.host.base import SYSTEM_ENVIRONMENT, ElevationRefused, Identity, RegistryValue
from doctor.host.elevated_command import elevated_command
from doctor.host.live_base import LiveHost, python_identity
from doctor.host.other_python import OtherPython
from doctor.host.readings import Found, Reading

assert sys.platform == "win32"

import ctypes  # noqa: E402
from ctypes import wintypes  # noqa: E402

from doctor.host import registry  # noqa: E402

CURRENT_VERSION = r"HKLM\SOFTWARE\Microsoft\Windows NT\CurrentVersion"

SEM_NO_DIALOGS = 0x1 | 0x2 | 0x8000  # critical errors, crashes, missing files
HWND_BROADCAST = 0xFFFF
WM_SETTINGCHANGE = 0x1A
SMTO_ABORTIFHUNG = 0x2
BROADCAST_MILLISECONDS = 1000  # for each window
# Keep the process handle, wait for the start, show no error dialog, open no console (it hangs without a desktop)
SEE_MASK = 0x40 | 0x100 | 0x400 | 0x8000
SW_HIDE = 0
REFUSALS = {1223, 1260, 5}  # cancelled by the user, blocked by group policy, access denied
WAIT_TIMEOUT = 0x102

WIN_BUILTIN_ADMINISTRATORS = 26
SECURITY_MAX_SID_SIZE = 68

advapi32 = ctypes.WinDLL("advapi32", use_last_error=True)
kernel32 = ctypes.WinDLL("kernel32", use_last_error=True)
shell32 = ctypes.WinDLL("shell32", use_last_error=True)
user32 = ctypes.WinDLL("user32", use_last_error=True)
kernel32.GetTickCount64.restype = ctypes.c_uint64


class ShellExecuteInfo(ctypes.Structure):
    """SHELLEXECUTEINFOW."""

    _fields_ = (
        ("cbSize", wintypes.DWORD),
        ("fMask", wintypes.ULONG),
        ("hwnd", wintypes.HWND),
        ("lpVerb", wintypes.LPCWSTR),
        ("lpFile", wintypes.LPCWSTR),
        ("lpParameters", wintypes.LPCWSTR),
        ("lpDirectory", wintypes.LPCWSTR),
        ("nShow", ctypes.c_int),
        ("hInstApp", wintypes.HINSTANCE),
        ("lpIDList", wintypes.LPVOID),
        ("lpClass", wintypes.LPCWSTR),
        ("hkeyClass", wintypes.HKEY),
        ("dwHotKey", wintypes.DWORD),
        ("hIcon", wintypes.HANDLE),
        ("hProcess", wintypes.HANDLE),
    )


def _is_administrator() -> bool:
    """Whether the Administrators group is enabled for this process. (`IsUserAnAdmin` does the same, but is deprecated.)"""
    group = ctypes.create_string_buffer(SECURITY_MAX_SID_SIZE)
    size = wintypes.DWORD(len(group))
    member = wintypes.BOOL()
    advapi32.CreateWellKnownSid(WIN_BUILTIN_ADMINISTRATORS, None, group, ctypes.byref(size))
    advapi32.CheckTokenMembership(None, group, ctypes.byref(member))
    return bool(member.value)


def _system_folder() -> str:
    """C:\\Windows\\System32, from Windows itself: a variable such as SystemRoot is the user's to set."""
    buffer = ctypes.create_unicode_buffer(wintypes.MAX_PATH)
    length = kernel32.GetSystemDirectoryW(buffer, len(buffer))
    if not 0 < length < len(buffer):
        raise OSError("Windows did not return the path of its system folder")
    return buffer.value


class WindowsHost(LiveHost):
    """A live Windows machine."""

    def __init__(self, python: OtherPython | None = None) -> None:
        super().__init__(python)
        # Child processes inherit it: a program with a missing DLL must end instead of showing a dialog
        kernel32.SetErrorMode(kernel32.GetErrorMode() | SEM_NO_DIALOGS)

    @cached_property
    def identity(self) -> Identity:
        return Identity(
            **python_identity(self._python),
            os="windows",
            os_build=self._os_build(),
            architecture=self._architecture(),
            elevated=_is_administrator(),
            wsl=False,
            ansi_code_page=kernel32.GetACP(),
            oem_code_page=kernel32.GetOEMCP(),
            user=os.environ.get("USERNAME", ""),
            host_name=os.environ.get("COMPUTERNAME", ""),
        )

    def _os_build(self) -> str:
        """From the registry (Windows 10 and newer), because the system calls depend on the compatibility mode."""
        names = ("CurrentMajorVersionNumber", "CurrentMinorVersionNumber", "CurrentBuildNumber")
        readings = [self.registry_value(CURRENT_VERSION, name) for name in names]
        parts = [str(reading.value.value) for reading in readings if isinstance(reading, Found)]
        if len(parts) == len(names):
            return ".".join(parts)
        version = sys.getwindowsversion()
        return f"{version.major}.{version.minor}.{version.build}"

    def _architecture(self) -> str:
        """Of the machine. The variables of an emulated process have the architecture it was built for."""
        own = os.environ.get("PROCESSOR_ARCHITEW6432") or os.environ.get("PROCESSOR_ARCHITECTURE", "")
        reading = self.registry_value(SYSTEM_ENVIRONMENT, "PROCESSOR_ARCHITECTURE")
        return str(reading.value.value) if isinstance(reading, Found) else own

    @property
    def _program_extensions(self) -> tuple[str, ...]:
        return tuple(os.environ.get("PATHEXT", ".COM;.EXE;.BAT;.CMD").split(";"))

    def boot_time(self) -> Reading[float]:
        return Found(time.time() - kernel32.GetTickCount64() / 1000)

    def registry_value(self, key: str, name: str) -> Reading[RegistryValue]:
        return registry.read_value(key, name)

    def registry_subkeys(self, key: str) -> Reading[tuple[str, ...]]:
        return registry.read_subkeys(key)

    def set_registry_value(self, key: str, name: str, value: RegistryValue | None) -> None:
        registry.write_value(key, name, value)

    def broadcast_environment_change(self) -> None:
        """Tell running programs, above all the taskbar, to start programs with the new variables."""
        user32.SendMessageTimeoutW(
            wintypes.HWND(HWND_BROADCAST),
            WM_SETTINGCHANGE,
            wintypes.WPARAM(0),
            ctypes.c_wchar_p("Environment"),
            SMTO_ABORTIFHUNG,
            BROADCAST_MILLISECONDS,
            None,
        )

    def set_registry_values_elevated(
        self, changes: Sequence[tuple[str, str, RegistryValue | None]], timeout: float
    ) -> int | ElevationRefused:
        """Let reg.exe change values as administrator, after Windows has asked the user. Raises OSError, ValueError."""
        folder = _system_folder()
        program, parameters = elevated_command(folder, changes)
        info = ShellExecuteInfo(
            cbSize=ctypes.sizeof(ShellExecuteInfo),
            fMask=SEE_MASK,
            lpVerb="runas",
            lpFile=program,
            lpParameters=parameters,
            lpDirectory=folder,
            nShow=SW_HIDE,
        )
        if not shell32.ShellExecuteExW(ctypes.byref(info)):
            code = ctypes.get_last_error()
            error = ctypes.WinError(code)
            if code in REFUSALS:
                return ElevationRefused(f"administrator rights were not granted: {error.strerror}")
            raise error
        process = wintypes.HANDLE(info.hProcess)
        try:
            if kernel32.WaitForSingleObject(process, int(timeout * 1000)) == WAIT_TIMEOUT:
                raise TimeoutError(f"{program} did not end within {timeout:g} s")
            exit_code = wintypes.DWORD()
            kernel32.GetExitCodeProcess(process, ctypes.byref(exit_code))
            return exit_code.value
        finally:
            kernel32.CloseHandle(process)
