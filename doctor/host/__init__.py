"""The only door to the machine: registry, environment, files, programs, installed distributions, identity."""

from doctor.host.base import (
    Completed,
    Distribution,
    ElevationRefused,
    Frozen,
    GitScope,
    Gpu,
    Host,
    Identity,
    NvidiaDriver,
    RegistryValue,
)
from doctor.host.readings import Absent, Found, Reading, Unreadable

__all__ = [
    "Absent",
    "Completed",
    "Distribution",
    "ElevationRefused",
    "Found",
    "Frozen",
    "GitScope",
    "Gpu",
    "Host",
    "Identity",
    "NvidiaDriver",
    "Reading",
    "RegistryValue",
    "Unreadable",
]
