"""Choose the flash-attn wheel for a machine."""

from __future__ import annotations

import re
from functools import lru_cache

from packaging.specifiers import SpecifierSet

from wheels.catalogue import Catalogue, Wheel
from wheels.choice import Choice, Item, known_on, listed, none_fits
from wheels.compatibility import ComputeCapability, contains_code_for
from wheels.flash_attn_builds import flash_attn_architectures, flash_attn_minimum_capability
from wheels.machine import Machine, TorchBuild
from wheels.match import match, newest_first, release_first
from wheels.rules import (
    not_known_bad,
    same_cuda_major,
    same_cxx11_abi,
    same_platform,
    same_python,
    same_torch,
    says_what_it_was_built_for,
)
from wheels.xformers_releases import bounds

PACKAGE = "flash-attn"


def code_for_these_gpus(wheel: Wheel, machine: Machine, torch: TorchBuild) -> str | None:
    """Its wheels contain machine code without PTX, so newer GPUs cannot run them."""
    lacking = _lacking(wheel.name.cuda, wheel.name.version, machine.capabilities)
    return "has no code for compute capability {}.{}".format(*lacking) if lacking else None


@lru_cache(1024)
def _lacking(
    cuda: tuple[int, int | None] | None, version: str, capabilities: tuple[ComputeCapability, ...]
) -> ComputeCapability | None:
    major, minor = cuda or (0, 0)
    architectures = flash_attn_architectures((major, minor or 0), version) or ()
    return next((each for each in capabilities if not contains_code_for(architectures, each)), None)


RULES = (
    same_platform,
    same_python,
    says_what_it_was_built_for,
    same_torch,
    same_cuda_major,
    same_cxx11_abi,
    code_for_these_gpus,
    not_known_bad,
)


def exists(machine: Machine, torch: TorchBuild, catalogue: Catalogue) -> bool:
    """Does `choose` find a wheel for this torch?"""
    for_torch = (w for w in catalogue.of(PACKAGE, machine.platform) if w.name.torch == torch.minor)
    return any(all(rule(wheel, machine, torch) is None for rule in RULES) for wheel in for_torch)


def choose(
    machine: Machine, torch: TorchBuild, catalogue: Catalogue, accepted: SpecifierSet | None = None
) -> Choice:
    """Choose the flash-attn wheel for this machine and this torch; `accepted`: the versions to choose from."""
    oldest = flash_attn_minimum_capability()
    too_old = [capability for capability in machine.capabilities if capability < oldest]
    if too_old:
        reason = "it needs compute capability {}.{}; this GPU has {}.{}".format(*oldest, *min(too_old))
        return none_fits(PACKAGE, reason, known_on("flash_attn"))

    def preference(wheel: Wheel) -> tuple[object, ...]:
        return _preference(wheel, torch)

    def version_accepted(wheel: Wheel, machine: Machine, torch: TorchBuild) -> str | None:
        if accepted is None or accepted.contains(wheel.name.version, prereleases=True):
            return None
        return f"is not one that xformers accepts ({bounds(accepted)})"

    rules = (*RULES, version_accepted) if accepted is not None else RULES
    found = match(catalogue.of(PACKAGE, machine.platform), rules, machine, torch, preference)
    if found.best is None:
        reason = found.nearest or f"there are no wheels for {machine.platform}"
        return none_fits(PACKAGE, reason, listed(catalogue, PACKAGE, machine.platform), match=found)
    version = found.best.name.version
    item = Item(PACKAGE, version, f"{PACKAGE}=={version}", wheel=found.best)
    built_for = f"built for torch {torch.minor} and CUDA {found.best.cuda}, for Python {machine.python}"
    others = (
        f"preferred to {len(found.wheels) - 1} others that fit"
        if len(found.wheels) > 1
        else "the only one that fits"
    )
    return Choice(PACKAGE, item, (built_for, others), match=found)


def _preference(wheel: Wheel, torch: TorchBuild) -> tuple[object, ...]:
    """Sort key, in this order: the same CUDA as torch's; a URL seen in a publisher's list; a label with the CUDA major
    only, then the nearest older CUDA, then the nearest newer; the newest version; a known hash; the preferred
    publisher; a platform tag that names the C library; the publisher's newest release.
    """
    assert wheel.name.cuda is not None and torch.cuda is not None
    return (
        wheel.name.cuda != torch.cuda,
        not wheel.publisher.confirmed,
        _distance(wheel.name.cuda[1], torch.cuda[1]),
        release_first(wheel.name.version),
        wheel.sha256 is None,
        wheel.rank,
        wheel.name.platforms[0].startswith("linux_"),
        newest_first(*map(int, re.findall(r"\d+", wheel.folder or ""))),
    )


def _distance(minor: int | None, wanted: int) -> tuple[int, int]:
    if minor is None:
        return 1, 0
    if minor == wanted:
        return 0, 0
    return (2, wanted - minor) if minor < wanted else (3, minor - wanted)
