"""Whether aios' own files are those that were installed."""

from __future__ import annotations

from doctor.check import Probe
from doctor.host import OwnFiles, Reader, Reading


def _own_files(host: Reader) -> Reading[OwnFiles]:
    return host.own_files()


OWN_FILES = Probe("own-files", _own_files, timeout=20.0)
