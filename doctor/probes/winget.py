"""winget, the Windows package manager."""

from __future__ import annotations

from doctor.check import Probe
from doctor.host import Host, Reading

NAME = "winget"


def _winget(host: Host) -> Reading[str]:
    return host.find_program(NAME)


WINGET = Probe(NAME, _winget)
