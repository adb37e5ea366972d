"""Which flash-attn wheel fits a machine: the rules, each with the words for a wheel that breaks it, and the order of the rest."""

from __future__ import annotations

import re

from packaging.version import Version

from wheels.catalogue import Catalogue, Wheel
from wheels.compatibility import (
    contains_code_for,
    flash_attn_architectures,
    flash_attn_minimum_capability,
    linux_cxx11_abi,
    torch_cuda_tags,
)
from wheels.machine import Machine, TorchBuild
from wheels.match import match
from wheels.tags import fits_platform, fits_python
from wheels.verdict import Item, Verdict, nothing

PACKAGE = "flash-attn"


def choose(machine: Machine, torch: TorchBuild, catalogue: Catalogue) -> Verdict:
    """The flash-attn wheel for this machine with this torch."""
    oldest = flash_attn_minimum_capability()
    too_old = [capability for capability in machine.compute_capabilities if capability < oldest]
    if too_old:
        reason = "it needs compute capability {}.{}; this GPU has {}.{}".format(*oldest, *min(too_old))
        return nothing(PACKAGE, reason)
    found = match(
        catalogue.of(PACKAGE, machine.platform),
        why_not=lambda wheel: why_not(wheel, machine, torch),
        preference=lambda wheel: preference(wheel, torch, machine.system),
    )
    if found.best is None:
        return nothing(PACKAGE, *found.commonest_reasons, match=found)
    item = Item(PACKAGE, found.best.name.version, f"{PACKAGE}=={found.best.name.version}", wheel=found.best)
    reasons = (
        f"built for torch {torch.minor} and CUDA {found.best.cuda}, for Python {machine.python}",
        f"the best of {len(found.wheels)} that fit" if len(found.wheels) > 1 else "the only one that fits",
    )
    return Verdict(PACKAGE, item, reasons, match=found)


def why_not(wheel: Wheel, machine: Machine, torch: TorchBuild) -> str | None:
    """Why this wheel does not run on this machine with this torch; None: it does."""
    name = wheel.name
    if not fits_platform(name, machine):
        return f"is for {'.'.join(name.platforms)}, not for {machine.platform}"
    if name.torch is None:
        return "does not say for which torch it was built"
    if not fits_python(name, machine):
        return f"is for Python {name.pythons[0]} ({name.abi}), not for {machine.abi_tag}"
    if name.torch != torch.minor:
        return f"was built for torch {name.torch}, not for {torch.minor}"
    if torch.cuda is None:
        return f"needs a CUDA build of torch; this is {torch}"
    if name.cuda is None:
        return "does not say for which CUDA it was built"
    if name.cuda[0] != torch.cuda[0]:
        return f"was built for CUDA {name.cuda[0]}; torch has CUDA {torch.cuda[0]}"
    if machine.system == "linux" and name.cxx11_abi not in (None, linux_cxx11_abi(torch.version, torch.cuda)):
        return f"was built for the {'new' if name.cxx11_abi else 'old'} C++ ABI, torch for the other"
    return _why_not_these_gpus(wheel, machine)


def _why_not_these_gpus(wheel: Wheel, machine: Machine) -> str | None:
    oldest = flash_attn_minimum_capability()
    for capability in machine.compute_capabilities:
        if capability < oldest:
            return "needs compute capability {}.{}; this GPU has {}.{}".format(*oldest, *capability)
    assert wheel.name.cuda is not None
    major, minor = wheel.name.cuda
    architectures = flash_attn_architectures((major, minor or 0)) or ()
    for capability in machine.compute_capabilities:
        if not contains_code_for(architectures, capability):
            return "has no code for compute capability {}.{}".format(*capability)
    return None


def preference(wheel: Wheel, torch: TorchBuild, system: str) -> tuple[object, ...]:
    """Sorts wheels that fit, the best one first.

    The same CUDA as torch's, then a label that names the major version alone, then the nearest older, then the nearest newer; a
    pair of torch and CUDA that exists; the newest version; an address that was seen; a hash to check against; the preferred
    publisher; its newest release.
    """
    assert wheel.name.cuda is not None and torch.cuda is not None
    major, minor = wheel.name.cuda
    version = Version(wheel.name.version)
    return (
        _distance(minor, torch.cuda[1]),
        minor is not None and f"cu{major}{minor}" not in torch_cuda_tags(torch.version, system),
        _newest_first(*version.release, version.post or 0),
        not wheel.publisher.confirmed,
        wheel.sha256 is None,
        wheel.rank,
        _newest_first(*map(int, re.findall(r"\d+", wheel.folder or ""))),
    )


def _distance(minor: int | None, wanted: int) -> tuple[int, int]:
    if minor is None:
        return 1, 0
    if minor == wanted:
        return 0, 0
    return (2, wanted - minor) if minor < wanted else (3, minor - wanted)


def _newest_first(*numbers: int) -> tuple[int, ...]:
    return tuple(-number for number in numbers)
