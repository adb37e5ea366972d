"""The host of the machine that this process runs on."""

from __future__ import annotations

import sys

from doctor.host.base import Host
from doctor.host.other_python import OtherPython


def live_host(python: OtherPython | None = None) -> Host:
    """Return the host of this machine, which looks at the Python that runs aios, or at another one."""
    if sys.platform == "win32":
        from doctor.host.windows import WindowsHost

        return WindowsHost(python)
    else:
        from doctor.host.posix import PosixHost

        return PosixHost(python)
