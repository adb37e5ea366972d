"""Choose the Triton for a torch on a machine."""

from __future__ import annotations

from packaging.requirements import Requirement
from packaging.version import Version

from wheels.catalogue import Catalogue, Wheel
from wheels.choice import Choice, Item, keep_installed, known_on, listed, none_fits
from wheels.compatibility_data import numbers
from wheels.machine import Machine, TorchBuild
from wheels.match import match, release_first
from wheels.rules import same_platform, same_python
from wheels.triton_releases import triton_windows_minor, triton_windows_requirement, triton_windows_serves

PACKAGE = "triton-windows"


def choose(machine: Machine, torch: TorchBuild, catalogue: Catalogue) -> Choice:
    """On Windows choose triton-windows in torch's range; on Linux torch depends on its own."""
    if machine.system != "windows":
        return keep_installed("triton", "torch for Linux installs it as a dependency")
    requirement = triton_windows_requirement(torch.version)
    minor = triton_windows_minor(torch.version)
    if requirement is None or minor is None:
        return none_fits(
            PACKAGE, f"no release for torch {torch.minor} is published", known_on("triton_windows")
        )
    if not serves(machine, torch):
        capability = min(machine.capabilities)
        return none_fits(
            PACKAGE,
            "Triton {} does not support compute capability {}.{}".format(minor, *capability),
            known_on("triton"),
        )
    wanted = Requirement(requirement).specifier

    def the_triton_of_this_torch(wheel: Wheel, machine: Machine, torch: TorchBuild) -> str | None:
        version = Version(wheel.name.version)
        if version.release[:2] == numbers(minor) and wanted.contains(version, prereleases=True):
            return None
        return f"is Triton {version.major}.{version.minor}; torch {torch.minor} needs {minor}"

    def newest(wheel: Wheel) -> tuple[int, ...]:
        return release_first(wheel.name.version)

    rules = (same_platform, same_python, the_triton_of_this_torch)
    found = match(catalogue.of(PACKAGE, machine.platform), rules, machine, torch, newest)
    if found.best is None:
        reason = found.nearest or "there are no wheels"
        return none_fits(PACKAGE, reason, listed(catalogue, PACKAGE, machine.platform), match=found)
    version = found.best.name.version
    item = Item(PACKAGE, version, f"{PACKAGE}=={version}", wheel=found.best)
    return Choice(PACKAGE, item, (f"for torch {torch.minor}, which needs Triton {minor}",), match=found)


def serves(machine: Machine, torch: TorchBuild) -> bool:
    """Does the Triton that this torch needs support these GPUs?"""
    minor = triton_windows_minor(torch.version)
    return minor is None or all(
        triton_windows_serves(Version(minor), capability) for capability in machine.capabilities
    )
