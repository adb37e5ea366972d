"""Does `pip install --dry-run` report only what was planned? Pure, over pip's report."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from itertools import chain

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from doctor.install.install_plan import Target
from doctor.install.pip import Resolved
from doctor.wheel_search.install_error import InstallError
from wheels.compatibility import cuda_tag, parse_version
from wheels.machine import TorchBuild
from wheels.packages import DISTRIBUTIONS

DECIDED = frozenset(chain.from_iterable(DISTRIBUTIONS.values()))


def additional_packages(
    reported: Collection[Resolved], targets: Collection[Target], torch: TorchBuild | None, brings_triton: bool
) -> tuple[Resolved, ...]:
    """Return what pip would install in addition to the targets.

    Raises InstallError if that includes another build of a package that aios chooses (torch, flash-attn, ...).

    Args:
        torch: the installed torch.
        brings_triton: torch depends on Triton, as it does on Linux.
    """
    wanted = {target.name: target for target in targets}
    others = tuple(each for each in reported if each.name not in wanted)
    for other in others:
        if other.name in DECIDED and not (other.name == "triton" and brings_triton):
            raise InstallError(_unplanned(other, reported, torch))
    return others


def _unplanned(other: Resolved, reported: Collection[Resolved], torch: TorchBuild | None) -> str:
    requirers = ", ".join(_requirers(other.name, reported)) or "one of these packages"
    if other.name != "torch":
        return (
            f"{requirers}: installing it would make pip install {other.name} {other.version}, which is not planned. "
            "Nothing was changed."
        )
    now = str(torch) if torch else "no torch"
    version = parse_version(other.version)
    lost = torch and torch.cuda_tag and not (version and cuda_tag(version))
    build = "a build for the CPU, or for another CUDA" if lost else "which is not planned"
    return (
        f"{requirers}: installing it would make pip replace {now} with torch {other.version} ({build}). "
        "Nothing was changed. Leave that package out, or install it together with torch: aios install"
    )


def _requirers(name: str, reported: Collection[Resolved]) -> Iterator[str]:
    """Yield "xformers 0.0.35 requires torch==2.10.0"."""
    for each in reported:
        for text in each.requires:
            try:
                requirement = Requirement(text)
            except InvalidRequirement:
                continue
            if canonicalize_name(requirement.name) == name and not (
                requirement.marker and "extra" in str(requirement.marker)
            ):
                yield f"{each.name} {each.version} requires {requirement.name}{requirement.specifier}"
