"""Facts about Triton and triton-windows releases: the torch that they work with, and the GPUs that they support.

Pure functions over `compatibility.json`, which names its sources.
"""

from __future__ import annotations

from typing import Any

from packaging.specifiers import SpecifierSet
from packaging.version import Version

from wheels.compatibility import ComputeCapability, minor
from wheels.compatibility_data import numbers, table


def triton_minor(torch: Version) -> str | None:
    """Return the Triton minor that this torch requires: "3.7"."""
    for known, release in table()["torch"]["releases"].items():
        if minor(Version(known)) == minor(torch):
            return str(release["triton"])
    return None


def triton_windows_minor(torch: Version) -> str | None:
    """Return the minor of the triton-windows that works with this torch: "3.7"."""
    row = table()["triton_windows"]["for_torch"].get(minor(torch))
    return str(row["triton"]) if row else None


def triton_windows_requirement(torch: Version) -> str | None:
    """Return the pip requirement on Windows: "triton-windows>=3.7,<3.8"; None: no matching release is published."""
    row = table()["triton_windows"]["for_torch"].get(minor(torch))
    return row["requirement"] if row else None


def _covers(row: dict[str, Any], capability: ComputeCapability) -> bool:
    return numbers(row["capability_from"]) <= capability < numbers(row["capability_below"])


def triton_windows_serves(triton: Version, capability: ComputeCapability) -> bool:
    """Can this triton-windows generate code for this GPU? True unless a limit is known."""
    rows = [row for row in table()["triton"]["windows_gpus"] if _covers(row, capability)]
    return all(triton.base_version in SpecifierSet(row["triton"]) for row in rows)


def triton_windows_for_float8(triton: Version, capability: ComputeCapability) -> str | None:
    """Return the first triton-windows with float8 on this GPU, if this one is older."""
    row = table()["triton"]["windows_float8"]
    return row["triton_from"] if _covers(row, capability) and triton < Version(row["triton_from"]) else None


def triton_windows_has_compiler(triton: Version) -> bool:
    """Does this triton-windows contain a C compiler (TinyCC)?"""
    return triton >= Version(table()["triton"]["windows_own_compiler_from"])


def bitsandbytes_requirement(bitsandbytes: Version, torch: Version) -> str | None:
    """Return the specifier to upgrade to if this bitsandbytes imports triton.ops and torch's Triton has removed it."""
    triton, facts = triton_minor(torch), table()["triton"]
    if triton is None or numbers(triton) < numbers(facts["without_ops_from"]):
        return None
    wanted = str(facts["bitsandbytes_without_ops_from"])
    return f">={wanted}" if bitsandbytes < Version(wanted) else None
