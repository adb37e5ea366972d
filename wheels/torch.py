"""Which torch to keep or to install: a build for the GPU, for which the other packages exist, too."""

from __future__ import annotations

from collections.abc import Iterator

from packaging.version import Version

from wheels import flash_attn, triton
from wheels.catalogue import Catalogue
from wheels.choice import Item, Verdict, index_of, kept, nothing
from wheels.compatibility import (
    architectures_were_read,
    best_covered_first,
    contains_code_for,
    driver_supports,
    flash_attn_minimum_capability,
    minimum_driver,
    torch_architectures,
    torch_cuda_tags,
    torch_platforms,
    torch_pythons,
    torch_releases,
)
from wheels.machine import Machine, TorchBuild
from wheels.packages import OLDEST_TORCH

PACKAGE = "torch"
NEWEST_GPU = (99, 0)  # where nobody knows: it excludes nothing


def why_not(torch: TorchBuild, machine: Machine) -> str | None:
    """Why this build does not run on the machine's GPUs: a clause; None: it does."""
    if torch.cuda is None or torch.cuda_tag is None:
        return "it is a build for the CPU"
    major = torch.cuda[0]
    if machine.driver and driver_supports(machine.driver, major, machine.system) is False:
        needed = minimum_driver(major, machine.system)
        return f"CUDA {major} needs a driver from {needed} on; this one is {machine.driver}"
    architectures = torch_architectures(torch.version, torch.cuda_tag, machine.system)
    for capability in machine.capabilities if architectures else ():
        if not contains_code_for(architectures or (), capability):
            return "it has no code for compute capability {}.{}".format(*capability)
    return None


def choose(machine: Machine, catalogue: Catalogue) -> Verdict:
    """Keep what fits; else the newest build that fits and for which flash-attn and Triton exist."""
    if machine.has_no_gpu:
        return _for_the_processor(machine)
    trouble = machine.torch and (why_not(machine.torch, machine) or _too_old(machine.torch))
    if machine.torch and not trouble:
        return kept(PACKAGE, f"{machine.torch} fits {_known(machine)}")
    replaced = (f"instead of {machine.torch}: {trouble}",) if machine.torch else ()
    builds = tuple(_builds(machine))
    if not builds:
        return nothing(PACKAGE, _why_none(machine), *replaced)
    build, companions = _best_accompanied(builds, machine, catalogue)
    version = build.labelled
    item = Item(PACKAGE, version, f"torch=={version}", index_of(build.cuda_tag))
    reason = f"the newest that fits {_known(machine)}"
    if companions:
        reason += f", and that {' and '.join(companions)} exist{'s' * (len(companions) == 1)} for"
    return Verdict(PACKAGE, item, (reason, *replaced))


def _too_old(torch: TorchBuild) -> str | None:
    return f"aios needs {OLDEST_TORCH} or newer" if torch.version < OLDEST_TORCH else None


def _for_the_processor(machine: Machine) -> Verdict:
    too_old = machine.torch and _too_old(machine.torch)
    if machine.torch and not too_old:
        return kept(PACKAGE, f"{machine.torch} runs here: there is no NVIDIA GPU")
    replaced = (f"instead of {machine.torch}: {too_old}",) if machine.torch else ()
    if machine.platform not in torch_platforms():
        return nothing(PACKAGE, f"no build is known for {machine.platform}")
    for release in torch_releases():
        if machine.python in (torch_pythons(Version(release)) or ()):
            # The plain one for Linux is a CUDA build
            index = None if machine.system == "windows" else index_of(None)
            item = Item(PACKAGE, release, f"torch=={release}", index)
            return Verdict(PACKAGE, item, ("a build for the CPU, as there is no NVIDIA GPU", *replaced))
    return nothing(PACKAGE, f"no release is known for Python {machine.python}")


def _builds(machine: Machine) -> Iterator[TorchBuild]:
    """Every build that would run here, the newest release first and in it the CUDA that other packages cover best."""
    if machine.platform not in torch_platforms():
        return
    for release in map(Version, torch_releases()):
        pythons = torch_pythons(release) or ()
        if release < OLDEST_TORCH or not architectures_were_read(release) or machine.python not in pythons:
            continue
        for tag in best_covered_first(torch_cuda_tags(release, machine.system)):
            build = TorchBuild(release, tag)
            known = torch_architectures(release, tag, machine.system) is not None
            if known and why_not(build, machine) is None:
                yield build


def _best_accompanied(
    builds: tuple[TorchBuild, ...], machine: Machine, catalogue: Catalogue
) -> tuple[TorchBuild, tuple[str, ...]]:
    """The first build that all companions exist for, else the first with flash-attn, else the first; and which they are."""
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
    """The one fact that alone rules out every build, where there is one."""
    if machine.platform not in torch_platforms():
        return f"PyTorch publishes no CUDA build for {machine.platform}"
    anywhere = Machine(machine.python, machine.platform, compute_capabilities=None)
    if not any(_builds(anywhere)):
        return f"no CUDA build is known for Python {machine.python} on {machine.platform}"
    driver = f"driver {machine.driver}"
    if not any(
        _builds(Machine(machine.python, machine.platform, compute_capabilities=None, driver=machine.driver))
    ):
        return f"{driver} is too old for every CUDA build for Python {machine.python}"
    gpus = " and ".join("{}.{}".format(*capability) for capability in sorted(set(machine.capabilities)))
    return f"no CUDA build for Python {machine.python} has code for compute capability {gpus}" + (
        f" and runs on {driver}" if machine.driver else ""
    )
