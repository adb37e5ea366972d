"""What to install on a machine: a verdict for each package, all for the same torch."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from packaging.version import Version

from wheels import flash_attn, torch, triton, xformers
from wheels.catalogue import Catalogue
from wheels.choice import Verdict, nothing
from wheels.machine import Machine, TorchBuild
from wheels.packages import PACKAGES

COMPANIONS = {"flash-attn": flash_attn, "xformers": xformers, "triton": triton}


@dataclass(frozen=True)
class InstallPlan:
    """Verdicts in the order of installation, and the torch that they are all for."""

    torch: TorchBuild | None
    verdicts: tuple[Verdict, ...]

    @property
    def fallback(self) -> str | None:
        """Where no flash-attn fits: the next best attention on this machine."""
        items = {verdict.package: verdict for verdict in self.verdicts}
        wanted = items.get("flash-attn")
        if wanted is None or wanted.item or wanted.kept:
            return None
        other = items.get("xformers")
        return "xformers" if other and (other.item or other.kept) else "sdpa"


def plan(machine: Machine, catalogue: Catalogue, packages: Collection[str] = PACKAGES) -> InstallPlan:
    """What this machine can use of `packages`.

    Where torch is asked for, the others are for the torch that is chosen; else for the installed one, which must fit.
    """
    if "torch" in packages:
        chosen = torch.choose(machine, catalogue)
        verdicts, build = [chosen], _build(machine, chosen)
        missing = "there is no torch that it could be for"
    else:
        verdicts, build, missing = [], *_installed(machine)
    for package in COMPANIONS:
        if package in packages:
            if machine.has_no_gpu:
                verdicts.append(nothing(package, "there is no NVIDIA GPU"))
            elif build is None:
                verdicts.append(nothing(package, missing))
            else:
                verdicts.append(COMPANIONS[package].choose(machine, build, catalogue))
    return InstallPlan(build, tuple(verdicts))


def _installed(machine: Machine) -> tuple[TorchBuild | None, str]:
    """The installed torch if it can stay, else what keeps it from serving."""
    if machine.torch is None:
        return None, "torch is not installed, and nobody asked to install it"
    trouble = None if machine.has_no_gpu else torch.why_not(machine.torch, machine)
    return (None, f"{machine.torch} has to be replaced first: {trouble}") if trouble else (machine.torch, "")


def _build(machine: Machine, chosen: Verdict) -> TorchBuild | None:
    if chosen.item is None:
        return machine.torch if chosen.kept else None
    version, _, tag = chosen.item.version.partition("+")
    return TorchBuild(Version(version), tag if tag.startswith("cu") else None)
