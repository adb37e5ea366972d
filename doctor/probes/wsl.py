"""Windows Subsystem for Linux: the driver that Windows lends, and another that must not be there."""

from __future__ import annotations

from dataclasses import dataclass

from doctor.check import Probe
from doctor.host import Host, Identity, Reading

LENT = "/usr/lib/wsl/lib"
LIBRARY_FOLDERS = ("/usr/lib/x86_64-linux-gnu", "/usr/lib64")


@dataclass(frozen=True)
class WslFacts:
    """Names in the folder of libraries that Windows lends, and in those where a driver of Linux' own would be."""

    identity: Identity
    lent: Reading[tuple[str, ...]]
    own: dict[str, Reading[tuple[str, ...]]]


def _wsl(host: Host) -> WslFacts | None:
    """None outside of WSL."""
    if not host.identity.wsl:
        return None
    own = {folder: host.list_directory(folder) for folder in LIBRARY_FOLDERS}
    return WslFacts(host.identity, host.list_directory(LENT), own)


WSL = Probe("wsl", _wsl)
