"""Windows Subsystem for Linux: the NVIDIA driver that Windows provides, and a Linux driver that hides it."""

from __future__ import annotations

from dataclasses import dataclass

from doctor.check import Probe
from doctor.host import Identity, Reader, Reading

WINDOWS_DRIVER_FOLDER = "/usr/lib/wsl/lib"
LIBRARY_FOLDERS = ("/usr/lib/x86_64-linux-gnu", "/usr/lib64")


@dataclass(frozen=True)
class WslFacts:
    """Library folders inside WSL.

    Attributes:
        windows_driver: names in the folder that Windows provides.
        linux_libraries: names in the folders a Linux driver would be installed to, by folder.
    """

    identity: Identity
    windows_driver: Reading[tuple[str, ...]]
    linux_libraries: dict[str, Reading[tuple[str, ...]]]


def _wsl(host: Reader) -> WslFacts | None:
    """The facts inside WSL; None elsewhere."""
    if not host.identity.wsl:
        return None
    libraries = {folder: host.list_directory(folder) for folder in LIBRARY_FOLDERS}
    return WslFacts(host.identity, host.list_directory(WINDOWS_DRIVER_FOLDER), libraries)


WSL = Probe("wsl", _wsl)
