"""Choose the xformers for a torch on a machine: PyTorch's own index first, then labelled wheels of other publishers."""

from __future__ import annotations

from packaging.version import Version

from wheels.catalogue import Catalogue, Wheel
from wheels.choice import Choice, Item, index_of, known_on, listed, none_fits
from wheels.filename import parse_wheel_name
from wheels.machine import Machine, TorchBuild
from wheels.match import match, release_first
from wheels.rules import same_platform, same_python, same_torch, says_what_it_was_built_for
from wheels.tags import fits_platform, fits_python
from wheels.xformers_releases import (
    accepted_flash_attn,
    bounds,
    needed_flash_attn,
    xformers_accepting,
    xformers_fault,
    xformers_index_tags,
    xformers_index_wheels,
)

PACKAGE = "xformers"


def same_cuda(wheel: Wheel, machine: Machine, torch: TorchBuild) -> str | None:
    if wheel.name.cuda == torch.cuda:
        return None
    return f"was built for CUDA {wheel.cuda}; this is {torch}"


def works_on_these_gpus(wheel: Wheel, machine: Machine, torch: TorchBuild) -> str | None:
    return _why_not_on_these_gpus(Version(wheel.name.version), machine)


def why_not_beside(
    version: Version, flash_attn: Version | None, machine: Machine, torch: TorchBuild
) -> str | None:
    """Return why a release does not work beside `flash_attn` (None: not installed), as a clause; None: it works."""
    accepted = accepted_flash_attn(version)
    if flash_attn is None and accepted is not None and machine.installed_version("flash-attn-4"):
        return (
            f"cannot be imported beside flash-attn-4 unless flash-attn {bounds(accepted)} is installed, too"
        )
    if flash_attn is not None and accepted is not None:
        if accepted.contains(flash_attn.public, prereleases=True):
            return None
        return f"refuses flash-attn {flash_attn.public}: it accepts {bounds(accepted)}"
    needed = needed_flash_attn(version, torch.version, machine.system, machine.capabilities)
    if flash_attn is not None or needed is None:
        return None
    capability = "{}.{}".format(*max(machine.capabilities))
    return (
        f"has no kernels of its own for compute capability {capability} and needs flash-attn {bounds(needed)}"
    )


RULES = (
    same_platform,
    same_python,
    says_what_it_was_built_for,
    same_torch,
    same_cuda,
    works_on_these_gpus,
)


def choose(
    machine: Machine, torch: TorchBuild, catalogue: Catalogue, flash_attn: Version | None = None
) -> Choice:
    """Choose the newest xformers that accepts this torch and has kernels for its CUDA and these GPUs.

    `flash_attn`: the version that is installed with it; None: it is not installed.
    """
    if torch.cuda_tag is None:
        return none_fits(PACKAGE, f"needs a CUDA build of torch; this is {torch}")
    reasons = []
    for version in xformers_accepting(torch.version):
        reason = _why_not_from_the_index(Version(version), machine, torch.cuda_tag)
        reason = reason or why_not_beside(Version(version), flash_attn, machine, torch)
        if reason is None:
            item = Item(PACKAGE, version, f"{PACKAGE}=={version}", index=index_of(torch.cuda_tag))
            fits = f"for torch {torch.version.base_version} and {torch.cuda_tag}"
            return Choice(PACKAGE, item, (fits, "from PyTorch's own index"))
        reasons.append(f"{version} {reason}")

    def works_beside_flash_attn(wheel: Wheel, machine: Machine, torch: TorchBuild) -> str | None:
        return why_not_beside(Version(wheel.name.version), flash_attn, machine, torch)

    rules = (*RULES, works_beside_flash_attn)
    found = match(catalogue.of(PACKAGE, machine.platform), rules, machine, torch, _preference)
    if found.best is None:
        reasons = reasons or [f"no release accepts torch {torch.version.base_version}"]
        dates = known_on("xformers"), listed(catalogue, PACKAGE, machine.platform)
        return none_fits(PACKAGE, *reasons, *dates, match=found)
    version = found.best.name.version
    item = Item(PACKAGE, version, f"{PACKAGE}=={version}", wheel=found.best)
    return Choice(PACKAGE, item, (f"built for torch {torch.minor} and {torch.cuda_tag}",), match=found)


def _why_not_from_the_index(version: Version, machine: Machine, tag: str) -> str | None:
    """Return why a release on PyTorch's own index does not fit this machine, as a clause; None: it fits."""
    tags = xformers_index_tags(version, machine.system)
    if tag not in tags:
        return f"is on PyTorch's index for {', '.join(tags)}, not for {tag}"
    names = [parse_wheel_name(f"xformers-{version}-{tag}.whl") for tag in xformers_index_wheels(version).tags]
    here = [name for name in names if name and fits_platform(name, machine)]
    if not here:
        return f"is not built for {machine.platform}"
    if not any(fits_python(name, machine) for name in here):
        return (
            f"is not built for Python {machine.python}{' (free-threaded)' if machine.free_threaded else ''}"
        )
    return _why_not_on_these_gpus(version, machine)


def _why_not_on_these_gpus(version: Version, machine: Machine) -> str | None:
    oldest, here = xformers_index_wheels(version).oldest_gpu, min(machine.capabilities, default=None)
    if here and here < oldest:
        return "needs compute capability {}.{}; this GPU has {}.{}".format(*oldest, *here)
    fault = xformers_fault(version, machine.system, machine.capabilities)
    return f"does not work here: {fault.why}" if fault else None


def _preference(wheel: Wheel) -> tuple[object, ...]:
    return release_first(wheel.name.version), wheel.rank
