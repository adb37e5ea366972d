"""Linux and macOS: the identity; there is no registry."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import cached_property

from doctor.host.base import ElevationRefused, Identity, RegistryValue
from doctor.host.live_base import LiveHost, python_identity
from doctor.host.readings import Absent, Found, Reading, Unreadable

assert sys.platform != "win32"

import os  # noqa: E402
import pwd  # noqa: E402
import re  # noqa: E402

import psutil  # noqa: E402


class PosixHost(LiveHost):
    """A live Linux or macOS machine."""

    _program_extensions = ()

    @cached_property
    def identity(self) -> Identity:
        system = os.uname()
        return Identity(
            **{"glibc": _glibc(), **python_identity(self._python)},
            os="macos" if sys.platform == "darwin" else "linux",
            os_build=system.release,
            architecture=system.machine,
            elevated=os.geteuid() == 0,
            wsl="microsoft" in system.release.lower(),
            ansi_code_page=None,
            oem_code_page=None,
            user=_user(),
            host_name=system.nodename,
        )

    def boot_time(self) -> Reading[float]:
        try:
            return Found(psutil.boot_time())
        except (OSError, RuntimeError) as error:  # a container may lack /proc/stat, or the line in it
            return Unreadable(str(error))

    def registry_value(self, key: str, name: str) -> Reading[RegistryValue]:
        return Absent()

    def registry_subkeys(self, key: str) -> Reading[tuple[str, ...]]:
        return Absent()

    def set_registry_value(self, key: str, name: str, value: RegistryValue | None) -> None:
        raise OSError(f"{key}: this system has no registry")

    def broadcast_environment_change(self) -> None:
        """Nothing to do: only Windows has this message."""

    def set_registry_values_elevated(
        self, changes: Sequence[tuple[str, str, RegistryValue | None]], timeout: float
    ) -> ElevationRefused:
        return ElevationRefused(
            "administrator rights can only be requested on Windows; run this command with sudo"
        )


def _glibc() -> tuple[int, int] | None:
    try:
        told = os.confstr("CS_GNU_LIBC_VERSION") or ""  # "glibc 2.36"
    except (OSError, ValueError):  # musl, macOS
        return None
    match = re.fullmatch(r"glibc (\d+)\.(\d+).*", told)
    return (int(match[1]), int(match[2])) if match else None


def _user() -> str:
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:  # a user without a name, in a container
        return str(os.geteuid())
