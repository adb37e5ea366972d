"""Choose a build of each package for a machine, all for the same torch."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from packaging.version import Version

from wheels import flash_attn, torch, triton, xformers
from wheels.catalogue import Catalogue
from wheels.choice import Choice, none_fits
from wheels.machine import Machine, TorchBuild
from wheels.packages import PACKAGES

COMPANIONS = {"flash-attn": flash_attn, "xformers": xformers, "triton": triton}


@dataclass(frozen=True)
class Resolution:
    """The choices in order of installation, and the torch that they are for."""

    torch: TorchBuild | None
    choices: tuple[Choice, ...]

    @property
    def fallback(self) -> str | None:
        """The next best attention, "xformers" or "sdpa", if no flash-attn fits."""
        items = {choice.package: choice for choice in self.choices}
        wanted = items.get("flash-attn")
        if wanted is None or wanted.item or wanted.kept:
            return None
        other = items.get("xformers")
        return "xformers" if other and (other.item or other.kept) else "sdpa"


def resolve(machine: Machine, catalogue: Catalogue, packages: Collection[str] = PACKAGES) -> Resolution:
    """Choose builds of `packages` for a machine.

    If torch is among them, the others are for the chosen torch; otherwise for the installed one, which must fit.
    """
    if "torch" in packages:
        chosen = torch.choose(machine, catalogue)
        choices, build = [chosen], _build(machine, chosen)
        missing = "no torch fits this machine"
    else:
        choices, build, missing = [], *_installed(machine)
    for package in COMPANIONS:
        if package in packages:
            if machine.has_no_gpu:
                choices.append(none_fits(package, "there is no NVIDIA GPU"))
            elif build is None:
                choices.append(none_fits(package, missing))
            else:
                choices.append(COMPANIONS[package].choose(machine, build, catalogue))
    return Resolution(build, tuple(choices))


def _installed(machine: Machine) -> tuple[TorchBuild | None, str]:
    """Return the installed torch if it works here, else the reason why there is none to build on."""
    if machine.torch is None:
        return None, "torch is not installed, and is not among the packages to install"
    trouble = None if machine.has_no_gpu else torch.why_unfit(machine.torch, machine)
    return (None, f"{machine.torch} must be replaced first: {trouble}") if trouble else (machine.torch, "")


def _build(machine: Machine, chosen: Choice) -> TorchBuild | None:
    if chosen.item is None:
        return machine.torch if chosen.kept else None
    version, _, tag = chosen.item.version.partition("+")
    return TorchBuild(Version(version), tag if tag.startswith("cu") else None)
