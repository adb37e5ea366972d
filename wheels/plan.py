"""What to install on a machine: a verdict for each package, all for the same torch."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from packaging.version import Version

from wheels import flash_attn, torch, triton, xformers
from wheels.catalogue import Catalogue
from wheels.machine import Machine, TorchBuild
from wheels.verdict import Verdict, nothing

PACKAGES = ("torch", "flash-attn", "xformers", "triton")


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
    """What this machine can use of `packages`. torch is decided first, whether it is asked for or not.

    `machine` says which torch is installed; where that must be replaced and may not be, nothing else fits either.
    """
    chosen = torch.choose(machine, catalogue)
    build = _build(machine, chosen) if "torch" in packages or chosen.kept else machine.torch
    verdicts = [chosen] if "torch" in packages else []
    for package, module in (("flash-attn", flash_attn), ("xformers", xformers), ("triton", triton)):
        if package in packages:
            if build is None:
                verdicts.append(nothing(package, "there is no torch that it could be for"))
            elif not machine.compute_capabilities:
                verdicts.append(nothing(package, "there is no NVIDIA GPU"))
            else:
                verdicts.append(module.choose(machine, build, catalogue))
    return InstallPlan(build, tuple(verdicts))


def _build(machine: Machine, chosen: Verdict) -> TorchBuild | None:
    if chosen.item is None:
        return machine.torch if chosen.kept else None
    version, _, tag = chosen.item.version.partition("+")
    return TorchBuild(Version(version), tag if tag.startswith("cu") else None)
