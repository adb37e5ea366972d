"""Do a wheel's tags (PEP 425, PEP 600) fit a machine that need not be this one?"""

from __future__ import annotations

import re

from wheels.filename import WheelName
from wheels.machine import Machine

# PEP 600: what the old names of manylinux stand for
LEGACY_GLIBC = {"manylinux1": (2, 5), "manylinux2010": (2, 12), "manylinux2014": (2, 17)}
MANYLINUX = re.compile(r"(?:manylinux_(\d+)_(\d+)|(manylinux1|manylinux2010|manylinux2014))_(.+)")


def fits_python(name: WheelName, machine: Machine) -> bool:
    """Does the wheel run on the machine's Python? A stable ABI does not serve a free-threaded one."""
    if name.abi == "none":
        return any(python.startswith("py3") or python == machine.python_tag for python in name.pythons)
    if name.abi == "abi3":
        return not machine.free_threaded and any(
            _number(p) <= _number(machine.python_tag) for p in name.pythons
        )
    return machine.python_tag in name.pythons and name.abi == machine.abi_tag


def _number(python_tag: str) -> tuple[int, int]:
    """ "cp312" -> (3, 12)."""
    digits = re.sub(r"\D", "", python_tag)
    return int(digits[:1] or 0), int(digits[1:] or 0)


def fits_platform(name: WheelName, machine: Machine) -> bool:
    """Is it for the machine's system and processor, and for a C library that is there?"""
    return any(_fits(platform, machine) for platform in name.platforms)


def _fits(platform: str, machine: Machine) -> bool:
    if platform in ("any", machine.platform):
        return True
    match = MANYLINUX.fullmatch(platform)
    if match is None or machine.platform != f"linux_{match[4]}":
        return False
    needed = LEGACY_GLIBC[match[3]] if match[3] else (int(match[1]), int(match[2]))
    return machine.glibc is None or machine.glibc >= needed
