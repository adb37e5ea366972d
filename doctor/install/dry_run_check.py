"""Would pip, left to itself, do what the plan says and no more? Pure, over what `pip install --dry-run` reports."""

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


def also_needed(
    reported: Collection[Resolved], targets: Collection[Target], torch: TorchBuild | None, brings_triton: bool
) -> tuple[Resolved, ...]:
    """What pip would install besides the targets. Raises InstallError where that is one of the packages that were decided on.

    `torch` is the installed one. `brings_triton`: torch for Linux asks for a Triton of its own.
    """
    wanted = {target.name: target for target in targets}
    others = tuple(each for each in reported if each.name not in wanted)
    for other in others:
        if other.name in DECIDED and not (other.name == "triton" and brings_triton):
            raise InstallError(_refusal(other, reported, torch))
    return others


def _refusal(other: Resolved, reported: Collection[Resolved], torch: TorchBuild | None) -> str:
    askers = ", ".join(_askers(other.name, reported)) or "one of these packages"
    if other.name != "torch":
        return (
            f"{askers}: with that, pip would install {other.name} {other.version}, which is not in the plan. "
            "Nothing was changed."
        )
    now = str(torch) if torch else "no torch"
    version = parse_version(other.version)
    lost = torch and torch.cuda_tag and not (version and cuda_tag(version))
    build = "a build for the CPU, or for another CUDA" if lost else "which is not in the plan"
    return (
        f"{askers}: with that, pip would put torch {other.version} ({build}) in the place of {now}. "
        "Nothing was changed. Leave that package out, or let torch be chosen with it: aios install"
    )


def _askers(name: str, reported: Collection[Resolved]) -> Iterator[str]:
    """ "xformers 0.0.35 asks for torch==2.10.0"."""
    for each in reported:
        for text in each.requires:
            try:
                requirement = Requirement(text)
            except InvalidRequirement:
                continue
            if canonicalize_name(requirement.name) == name and not (
                requirement.marker and "extra" in str(requirement.marker)
            ):
                yield f"{each.name} {each.version} asks for {requirement.name}{requirement.specifier}"
