"""Which Triton fits a torch on a machine."""

from __future__ import annotations

from packaging.requirements import Requirement
from packaging.version import Version

from wheels.catalogue import Catalogue, Wheel
from wheels.companions import triton_windows_serves
from wheels.compatibility import triton_minor, triton_windows_requirement
from wheels.machine import Machine, TorchBuild
from wheels.match import match
from wheels.table import numbers
from wheels.tags import fits_platform, fits_python
from wheels.verdict import Item, Verdict, kept, nothing

PACKAGE = "triton-windows"


def choose(machine: Machine, torch: TorchBuild, catalogue: Catalogue) -> Verdict:
    """On Windows triton-windows in torch's range; on Linux torch brings its own."""
    if machine.system != "windows":
        return kept("triton", "torch for Linux brings its own")
    requirement = triton_windows_requirement(torch.version)
    minor = triton_minor(torch.version)
    if requirement is None or minor is None:
        return nothing(PACKAGE, f"nobody has published one for torch {torch.minor}")
    if not serves(machine, torch):
        capability = min(machine.compute_capabilities)
        return nothing(
            PACKAGE, "Triton {} does not serve compute capability {}.{}".format(minor, *capability)
        )
    wanted = Requirement(requirement).specifier

    def why_not(wheel: Wheel) -> str | None:
        if not fits_platform(wheel.name, machine):
            return f"is for {'.'.join(wheel.name.platforms)}, not for {machine.platform}"
        if not fits_python(wheel.name, machine):
            return f"is for Python {wheel.name.pythons[0]} ({wheel.name.abi}), not for {machine.abi_tag}"
        version = Version(wheel.name.version)
        if version.release[:2] != numbers(minor) or not wanted.contains(version, prereleases=True):
            return f"is Triton {version.major}.{version.minor}; torch {torch.minor} needs {minor}"
        return None

    def newest(wheel: Wheel) -> tuple[int, ...]:
        version = Version(wheel.name.version)
        return tuple(-number for number in (*version.release, version.post or 0))

    found = match(catalogue.of(PACKAGE, machine.platform), why_not, newest)
    if found.best is None:
        return nothing(PACKAGE, *found.commonest_reasons, match=found)
    version = found.best.name.version
    item = Item(PACKAGE, version, f"{PACKAGE}=={version}", wheel=found.best)
    return Verdict(PACKAGE, item, (f"torch {torch.minor} needs Triton {minor}",), match=found)


def serves(machine: Machine, torch: TorchBuild) -> bool:
    """Could the Triton that this torch needs make code for these GPUs at all?"""
    minor = triton_minor(torch.version)
    return minor is None or all(
        triton_windows_serves(Version(minor), capability) for capability in machine.compute_capabilities
    )
