"""The operating system: its identity, long paths, the temporary folder, and git."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from doctor.check import Probe
from doctor.host import Absent, Found, Identity, Reader, Reading, RegistryValue, Unreadable
from doctor.host.base import USER_ENVIRONMENT
from doctor.host.variables import inherited
from doctor.probes.paths import parent, system_drive

FILE_SYSTEM_KEY = r"HKLM\SYSTEM\CurrentControlSet\Control\FileSystem"
LONG_PATHS_VALUE = "LongPathsEnabled"
CURRENT_VERSION_KEY = r"HKLM\SOFTWARE\Microsoft\Windows NT\CurrentVersion"
Kind = Literal["folder", "file"]


def _identity(host: Reader) -> Identity:
    return host.identity


def _long_paths(host: Reader) -> Reading[RegistryValue]:
    return host.registry_value(FILE_SYSTEM_KEY, LONG_PATHS_VALUE)


def _installation_type(host: Reader) -> Reading[RegistryValue]:
    """The edition of Windows: "Client", "Server" or "Server Core"."""
    return host.registry_value(CURRENT_VERSION_KEY, "InstallationType")


@dataclass(frozen=True)
class TempFacts:
    """TEMP and TMP.

    Attributes:
        process: for programs started in this terminal.
        desktop: for programs started from the desktop.
        user: the user's registry values.
        kinds: what exists at these paths and at their parents.
        drive: the system drive, such as "C:".
        environment: this Python's prefix.
    """

    process: dict[str, str | None]
    desktop: dict[str, str | None]
    user: dict[str, Reading[RegistryValue]]
    kinds: dict[str, Reading[Kind]]
    long_paths: Reading[RegistryValue]
    drive: str
    environment: str


def _kind(host: Reader, path: str) -> Reading[Kind]:
    listing = host.list_directory(path)
    if isinstance(listing, Unreadable) and isinstance(host.read_file(path), Found):
        return Found("file")
    return Found("folder") if isinstance(listing, Found) else listing


def _temp(host: Reader) -> TempFacts:
    names = ("TEMP", "TMP")
    process = {name: host.variable(name) for name in names}
    desktop = {name: inherited(host, name) for name in names}
    folders = [folder for folder in (*process.values(), *desktop.values()) if folder]
    folders += [parent(host, folder) for folder in folders]
    return TempFacts(
        process=process,
        desktop=desktop,
        user={name: host.registry_value(USER_ENVIRONMENT, name) for name in names},
        kinds={folder: _kind(host, folder) for folder in folders},
        long_paths=_long_paths(host),
        drive=system_drive(host),
        environment=host.identity.prefix,
    )


@dataclass(frozen=True)
class GitFacts:
    """The git on PATH and its setting core.longpaths."""

    program: Reading[str]
    long_paths: Reading[str]


def _git(host: Reader) -> GitFacts:
    program = host.find_program("git")
    setting = host.git_setting("core.longpaths") if isinstance(program, Found) else Absent()
    return GitFacts(program, setting)


IDENTITY = Probe("identity", _identity)
INSTALLATION_TYPE = Probe("installation-type", _installation_type)
LONG_PATHS = Probe("long-paths", _long_paths)
TEMP = Probe("temp", _temp)
GIT = Probe("git", _git)
