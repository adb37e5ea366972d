"""The host of the machine that this process runs on."""

from __future__ import annotations

import sys

from doctor.host.base import Host


def live_host() -> Host:
    """Return the host of this machine."""
    if sys.platform == "win32":
        from doctor.host.windows import WindowsHost

        return WindowsHost()
    else:
        from doctor.host.posix import PosixHost

        return PosixHost()
