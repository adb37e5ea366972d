"""Choose the torch to keep or to install: a build for the GPU that the other packages support."""

from __future__ import annotations

from collections.abc import Iterator

from packaging.version import Version

from wheels import flash_attn, triton
from wheels.catalogue import Catalogue
from wheels.choice import Choice, Item, index_of, keep_installed, none_fits
from wheels.compatibility import (
    architectures_were_read,
    best_covered_first,
    contains_code_for,
    cuda_tag,
    driver_supports,
    minimum_driver,
    torch_architectures,
    torch_cuda_tags,
    torch_platforms,
    torch_pythons,
    torch_releases,
    why_nvcc_cannot_target,
)
from wheels.flash_attn_builds import flash_attn_minimum_capability
from wheels.machine import Machine, TorchBuild
from wheels.packages import OLDEST_TORCH

PACKAGE = "torch"
NEWEST_GPU = (99, 0)  # if the GPU is not known: excludes nothing


def why_unfit(torch: TorchBuild, machine: Machine) -> str | None:
    """Return why this build does not run on the machine's GPUs, as a clause; None: it does."""
    if torch.cuda is None or torch.cuda_tag is None:
        return "it is a CPU build"
    major = torch.cuda[0]
    if machine.driver and driver_supports(machine.driver, major, machine.system) is False:
        needed = minimum_driver(major, machine.system)
        return f"CUDA {major} needs driver {needed} or newer; this one is {machine.driver}"
    architectures = torch_architectures(torch.version, torch.cuda_tag, machine.system)
    for capability in machine.capabilities:
        missing = architectures and not contains_code_for(architectures, capability)
        # Without a known list, what its CUDA could not compile for is missing; a build made here may contain PTX
        unknown_build = not architectures and cuda_tag(torch.version)
        if missing or (unknown_build and why_nvcc_cannot_target(torch.cuda, capability)):
            return "it has no code for compute capability {}.{}".format(*capability)
    return None


def choose(machine: Machine, catalogue: Catalogue) -> Choice:
    """Keep the installed build if it fits; else choose the newest that fits and that flash-attn and Triton support."""
    if machine.has_no_gpu:
        return _for_the_processor(machine)
    trouble = machine.torch and (why_unfit(machine.torch, machine) or _too_old(machine.torch))
    if machine.torch and not trouble:
        return keep_installed(PACKAGE, f"{machine.torch} fits {_known(machine)}")
    replaced = (f"instead of {machine.torch}: {trouble}",) if machine.torch else ()
    builds = tuple(_builds(machine))
    if not builds:
        return none_fits(PACKAGE, _why_none(machine), *replaced)
    build, companions = _best_accompanied(builds, machine, catalogue)
    version = build.labelled
    item = Item(PACKAGE, version, f"torch=={version}", index_of(build.cuda_tag))
    reason = f"the newest build for {_known(machine)}"
    if companions:
        reason += f" that {' and '.join(companions)} support{'' if len(companions) > 1 else 's'}"
    return Choice(PACKAGE, item, (reason, *replaced))


def _too_old(torch: TorchBuild) -> str | None:
    return f"aios supports {OLDEST_TORCH} or newer" if torch.version < OLDEST_TORCH else None


def _for_the_processor(machine: Machine) -> Choice:
    too_old = machine.torch and _too_old(machine.torch)
    if machine.torch and not too_old:
        return keep_installed(PACKAGE, f"{machine.torch} works here: there is no NVIDIA GPU")
    replaced = (f"instead of {machine.torch}: {too_old}",) if machine.torch else ()
    if machine.platform not in torch_platforms():
        return none_fits(PACKAGE, f"no build is known for {machine.platform}")
    for release in torch_releases():
        if machine.python in (torch_pythons(Version(release)) or ()):
            # On PyPI the build for Linux is a CUDA build
            index = None if machine.system == "windows" else index_of(None)
            item = Item(PACKAGE, release, f"torch=={release}", index)
            return Choice(PACKAGE, item, ("a CPU build, as there is no NVIDIA GPU", *replaced))
    return none_fits(PACKAGE, f"no release is known for Python {machine.python}")


def _builds(machine: Machine) -> Iterator[TorchBuild]:
    """Yield every build that runs here: newest release first, in a release the best supported CUDA first."""
    if machine.platform not in torch_platforms():
        return
    for release in map(Version, torch_releases()):
        pythons = torch_pythons(release) or ()
        if release < OLDEST_TORCH or not architectures_were_read(release) or machine.python not in pythons:
            continue
        for tag in best_covered_first(torch_cuda_tags(release, machine.system)):
            build = TorchBuild(release, tag)
            known = torch_architectures(release, tag, machine.system) is not None
            if known and why_unfit(build, machine) is None:
                yield build


def _best_accompanied(
    builds: tuple[TorchBuild, ...], machine: Machine, catalogue: Catalogue
) -> tuple[TorchBuild, tuple[str, ...]]:
    """Return the first build that flash-attn and Triton support, else that flash-attn supports, else the first build.

    With it the names of those that support it.
    """
    with_flash_attn = None
    for build in builds:
        flash_attn_serves = min(machine.capabilities, default=NEWEST_GPU) >= flash_attn_minimum_capability()
        if flash_attn_serves and not flash_attn.exists(machine, build, catalogue):
            continue
        found = ("flash-attn",) * flash_attn_serves
        if machine.system != "windows" or not triton.serves(machine, build):
            return build, found
        if triton.choose(machine, build, catalogue).item:
            return build, (*found, "Triton")
        with_flash_attn = with_flash_attn or (build, found)
    return with_flash_attn or (builds[0], ())


def _known(machine: Machine) -> str:
    driver = (f"driver {machine.driver}",) * bool(machine.driver)
    gpus = ("these GPUs" if len(machine.capabilities) > 1 else "this GPU",) * bool(machine.capabilities)
    parts = (f"Python {machine.python}", *driver, *gpus)
    return " and ".join(filter(None, (", ".join(parts[:-1]), parts[-1])))


def _why_none(machine: Machine) -> str:
    """Return the reason why no build fits; if a single fact rules out every build, that one."""
    if machine.platform not in torch_platforms():
        return f"PyTorch publishes no CUDA build for {machine.platform}"
    anywhere = Machine(machine.python, machine.platform, compute_capabilities=None)
    if not any(_builds(anywhere)):
        return f"no CUDA build of torch {OLDEST_TORCH} or newer is known for Python {machine.python} on {machine.platform}"
    driver = f"driver {machine.driver}"
    if not any(
        _builds(Machine(machine.python, machine.platform, compute_capabilities=None, driver=machine.driver))
    ):
        return f"{driver} is too old for every CUDA build for Python {machine.python}"
    gpus = " and ".join("{}.{}".format(*capability) for capability in sorted(set(machine.capabilities)))
    return f"no CUDA build for Python {machine.python} has code for compute capability {gpus}" + (
        f" and runs on {driver}" if machine.driver else ""
    )
