"""winget, the Windows package manager."""

from __future__ import annotations

from doctor.check import Probe
from doctor.host import Reader, Reading

NAME = "winget"


def _winget(host: Reader) -> Reading[str]:
    return host.find_program(NAME)


WINGET = Probe(NAME, _winget)
