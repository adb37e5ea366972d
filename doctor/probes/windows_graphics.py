"""Windows' own GPU settings: timeout detection and recovery (TDR), and hardware scheduling."""

from __future__ import annotations

from dataclasses import dataclass

from doctor.check import Probe
from doctor.host import Reader, Reading, RegistryValue

GRAPHICS_KEY = r"HKLM\SYSTEM\CurrentControlSet\Control\GraphicsDrivers"


@dataclass(frozen=True)
class GraphicsFacts:
    """Values under GRAPHICS_KEY; Absent means Windows' default."""

    tdr_level: Reading[RegistryValue]
    tdr_delay: Reading[RegistryValue]
    tdr_ddi_delay: Reading[RegistryValue]
    hardware_scheduling: Reading[RegistryValue]


def _graphics(host: Reader) -> GraphicsFacts:
    names = ("TdrLevel", "TdrDelay", "TdrDdiDelay", "HwSchMode")
    return GraphicsFacts(*(host.registry_value(GRAPHICS_KEY, name) for name in names))


GRAPHICS = Probe("graphics", _graphics)
