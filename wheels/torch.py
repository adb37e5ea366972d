"""Which torch to keep or to install: a build for the GPU, for which the other packages exist, too."""

from __future__ import annotations

from collections.abc import Iterator

from packaging.version import Version

from wheels import flash_attn, triton
from wheels.catalogue import Catalogue
from wheels.compatibility import (
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
from wheels.verdict import Item, Verdict, index_of, kept, nothing

PACKAGE = "torch"
OLDEST = Version("2.6")  # the extra [train]


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
    if machine.torch and (trouble := why_not(machine.torch, machine)) is None:
        return kept(PACKAGE, f"{machine.torch} fits this driver and these GPUs")
    replaced = (f"instead of {machine.torch}: {trouble}",) if machine.torch else ()
    builds = tuple(_builds(machine))
    if not builds:
        return nothing(PACKAGE, _why_none(machine), *replaced)
    build, companions = next(
        ((b, names) for b in builds if (names := _companions(b, machine, catalogue)) is not None),
        (builds[0], ()),
    )
    version = f"{build.version}+{build.cuda_tag}"
    item = Item(PACKAGE, version, f"torch=={version}", index_of(build.cuda_tag))
    reason = "the newest that this Python, this driver and these GPUs allow"
    if companions:
        reason += f", and that {' and '.join(companions)} exist for"
    return Verdict(PACKAGE, item, (reason, *replaced))


def _for_the_processor(machine: Machine) -> Verdict:
    if machine.torch:
        return kept(PACKAGE, f"{machine.torch} runs here: there is no NVIDIA GPU")
    for release in torch_releases():
        if machine.python in (torch_pythons(Version(release)) or ()):
            # The plain one for Linux is a CUDA build
            index = None if machine.system == "windows" else index_of(None)
            item = Item(PACKAGE, release, f"torch=={release}", index)
            return Verdict(PACKAGE, item, ("there is no NVIDIA GPU: a build for the CPU",))
    return nothing(PACKAGE, f"no release is known for Python {machine.python}")


def _builds(machine: Machine) -> Iterator[TorchBuild]:
    """Every build that would run here, the newest release first and in it the CUDA that other packages cover best."""
    if machine.platform not in torch_platforms():
        return
    for release in map(Version, torch_releases()):
        if release < OLDEST or machine.python not in (torch_pythons(release) or ()):
            continue
        for tag in best_covered_first(torch_cuda_tags(release, machine.system)):
            build = TorchBuild(release, tag)
            known = torch_architectures(release, tag, machine.system) is not None
            if known and why_not(build, machine) is None:
                yield build


def _companions(torch: TorchBuild, machine: Machine, catalogue: Catalogue) -> tuple[str, ...] | None:
    """The packages that exist for this build, of those that can serve this machine; None: one is missing."""
    found = []
    if all(capability >= flash_attn_minimum_capability() for capability in machine.capabilities):
        if not flash_attn.exists(machine, torch, catalogue):
            return None
        found.append("flash-attn")
    if machine.system == "windows" and triton.serves(machine, torch):
        if triton.choose(machine, torch, catalogue).item is None:
            return None
        found.append("Triton")
    return tuple(found)


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
