"""The only door to the machine: registry, environment, files, programs, installed distributions, identity."""

from doctor.host.base import (
    Binary,
    Completed,
    Distribution,
    ElevationRefused,
    Frozen,
    GitScope,
    Gpu,
    Host,
    Identity,
    Memory,
    NvidiaDriver,
    Reached,
    RegistryValue,
    RunningProgram,
    Volume,
)
from doctor.host.readings import Absent, Found, Reading, Unreadable

__all__ = [
    "Absent",
    "Binary",
    "Completed",
    "Distribution",
    "ElevationRefused",
    "Found",
    "Frozen",
    "GitScope",
    "Gpu",
    "Host",
    "Identity",
    "Memory",
    "NvidiaDriver",
    "Reached",
    "Reading",
    "RegistryValue",
    "RunningProgram",
    "Unreadable",
    "Volume",
]
