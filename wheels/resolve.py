"""Choose a build of each package for a machine, all for the same torch."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, replace

from packaging.specifiers import SpecifierSet
from packaging.version import Version

from wheels import flash_attn, on_request, sageattention, torch, triton, xformers
from wheels.catalogue import Catalogue
from wheels.choice import Choice, none_fits
from wheels.machine import Machine, TorchBuild
from wheels.packages import ON_REQUEST, PACKAGES, WITHOUT_A_GPU
from wheels.xformers_releases import (
    accepted_flash_attn,
    bounds,
    xformers_accepting,
    xformers_torch_requirement,
)

BESIDE_TORCH = ("flash-attn", "xformers", "triton")
REQUESTED: dict[str, Callable[[Machine, TorchBuild, Catalogue], Choice]] = {
    "torchvision": on_request.choose_torchvision,
    "torchaudio": on_request.choose_torchaudio,
    "torchcodec": on_request.choose_torchcodec,
    "bitsandbytes": on_request.choose_bitsandbytes,
    "sageattention": sageattention.choose,
    "flash-attn-4": on_request.choose_flash_attn_4,
}


@dataclass(frozen=True)
class Resolution:
    """The choices in order of installation, and the torch that they are for."""

    torch: TorchBuild | None
    choices: tuple[Choice, ...]

    @property
    def fallback(self) -> str | None:
        """The next best attention, "xformers" or "sdpa", if no flash-attn fits, or no xformers when only that was asked for."""
        found = {choice.package: bool(choice.item or choice.kept) for choice in self.choices}
        if found.get("flash-attn", "xformers" not in found):
            return None
        if "flash-attn" not in found:
            return None if found["xformers"] else "sdpa"
        return "xformers" if found.get("xformers") else "sdpa"


def resolve_one(machine: Machine, catalogue: Catalogue, package: str) -> Resolution:
    """Choose a build of one package for the installed torch; if it is flash-attn and none fits, also of xformers."""
    alone = resolve(machine, catalogue, (package,))
    if package != "flash-attn" or alone.fallback is None:
        return alone
    return resolve(machine, catalogue, ("flash-attn", "xformers"))


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
    wanted = [package for package in (*BESIDE_TORCH, *ON_REQUEST) if package in packages]
    served = [package for package in wanted if package in WITHOUT_A_GPU or not machine.has_no_gpu]
    choices += [none_fits(package, "there is no NVIDIA GPU") for package in wanted if package not in served]
    if build is None:
        choices += [none_fits(package, missing) for package in served]
    else:
        if "flash-attn-4" in served:
            machine = _with(machine, on_request.choose_flash_attn_4(machine, build, catalogue))
        attention = _attention(machine, build, catalogue, served)
        machine = _with(machine, *attention)
        choices += attention
        choices += [triton.choose(machine, build, catalogue)] * ("triton" in served)
        choices += [REQUESTED[name](machine, build, catalogue) for name in served if name in REQUESTED]
    return Resolution(build, tuple(choices))


def _with(machine: Machine, *choices: Choice) -> Machine:
    """Return the machine as it is after the chosen packages are installed."""
    new = {choice.package: choice.item.version for choice in choices if choice.item}
    return replace(machine, installed=tuple(({**dict(machine.installed), **new}).items()))


def _attention(
    machine: Machine, build: TorchBuild, catalogue: Catalogue, wanted: Collection[str]
) -> tuple[Choice, ...]:
    """Choose a flash-attn and an xformers that accept each other, or the installed one if only one is wanted."""
    installed = machine.installed_version("flash-attn")
    if "flash-attn" not in wanted:
        return (_beside_installed(machine, build, catalogue, installed),) * ("xformers" in wanted)
    if "xformers" not in wanted:
        return (flash_attn.choose(machine, build, catalogue, _accepted_by_installed(machine, build)),)
    best = flash_attn.choose(machine, build, catalogue)
    beside = Version(best.item.version) if best.item else installed
    other = xformers.choose(machine, build, catalogue, beside)
    if best.item is None or other.item:
        return best, other
    return next(_older_flash_attn(machine, build, catalogue), (best, other))


def _beside_installed(
    machine: Machine, build: TorchBuild, catalogue: Catalogue, installed: Version | None
) -> Choice:
    """Choose an xformers for the installed flash-attn. If none accepts it, name the command that installs both."""
    choice = xformers.choose(machine, build, catalogue, installed)
    if choice.item or not any(pair[1].item for pair in _older_flash_attn(machine, build, catalogue)):
        return choice
    both = "to install a flash-attn and an xformers that fit each other: aios install flash-attn xformers"
    return replace(choice, reasons=(choice.reasons[0], both, *choice.reasons[1:]))


def _older_flash_attn(
    machine: Machine, build: TorchBuild, catalogue: Catalogue
) -> Iterator[tuple[Choice, Choice]]:
    """Yield pairs of a flash-attn and an xformers that accepts it, the newest xformers first."""
    for release in xformers_accepting(build.version):
        accepted = accepted_flash_attn(Version(release))
        if accepted is None:
            continue
        first = flash_attn.choose(machine, build, catalogue, accepted)
        if first.item is None:
            continue
        second = xformers.choose(machine, build, catalogue, Version(first.item.version))
        if second.item:
            reason = f"xformers {second.item.version} accepts flash-attn {bounds(accepted)}"
            yield replace(first, reasons=(*first.reasons, reason)), second


def _accepted_by_installed(machine: Machine, build: TorchBuild) -> SpecifierSet | None:
    """Return the flash-attn releases that the installed xformers accepts, if that one is for this torch."""
    installed = machine.installed_version("xformers")
    requirement = xformers_torch_requirement(installed) if installed else None
    if (
        installed is None
        or requirement is None
        or build.version.base_version not in SpecifierSet(requirement)
    ):
        return None
    return accepted_flash_attn(installed)


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
