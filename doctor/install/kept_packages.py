"""Which installed packages a plan keeps: those built for this torch that no other package of the plan refuses."""

from __future__ import annotations

from urllib.parse import unquote

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

from doctor.host import Found
from doctor.install.environment_facts import EnvironmentFacts
from wheels.catalogue import Wheel
from wheels.choice import Choice, Item, keep_installed, none_fits
from wheels.companions import COMPANIONS, bitsandbytes_fault, companion_requirement
from wheels.compatibility import cuda_tag, parse_version
from wheels.flash_attn_builds import parse_flash_attn
from wheels.machine import TorchBuild
from wheels.resolve import Resolution
from wheels.xformers import why_not_beside


def keep_if_it_fits(choice: Choice, torch: TorchBuild | None, facts: EnvironmentFacts) -> Choice:
    """Keep an installed package that is built for this torch, unless its check reports an error."""
    item = choice.item
    there = facts.installed.get(distribution_name(item)) if item else None
    package = choice.package.removesuffix("-windows")  # the id of its check
    if item is None or there is None or torch is None or package in facts.broken:
        return choice
    version, wanted = parse_version(there.version), parse_version(item.version)
    older = version and wanted and Version(version.public) < Version(wanted.public)
    if version is None or older:
        return choice
    if package == "flash-attn":
        build = parse_flash_attn(there.version, there.direct_url)
        cuda = torch.cuda[0] if torch.cuda else None
        fits = (build.torch, build.cuda_major) == (torch.minor, cuda)
    elif package == "xformers":
        fits = (
            isinstance(facts.xformers.build, Found)
            and facts.xformers.build.value.cuda == torch.cuda
            and wanted is not None
            and Version(version.public) == Version(wanted.public)
        )
    elif package in COMPANIONS:
        requirement = companion_requirement(package, torch.version)
        fits = requirement is not None and version.base_version in SpecifierSet(requirement)
        fits = fits and (version.local is None or cuda_tag(version) == torch.cuda_tag)
    elif package == "bitsandbytes":
        fits = torch.cuda is not None and bitsandbytes_fault(version, torch.version, torch.cuda) is None
    elif package == "sageattention" and item.wheel:
        fits = version.local == label_of(item.wheel)
    else:
        fits = version == wanted
    return keep_installed(choice.package, f"{there.version} is installed, for {torch}") if fits else choice


def without_refusals(
    choices: tuple[Choice, ...], resolution: Resolution, facts: EnvironmentFacts
) -> tuple[Choice, ...]:
    """Drop a new xformers that refuses the flash-attn that is kept; if both are installed, replace that flash-attn."""
    found = {choice.package: choice for choice in choices}
    flash_attn, xformers = found.get("flash-attn"), found.get("xformers")
    installed = facts.machine.installed_version("flash-attn")
    if flash_attn is None or not flash_attn.kept or installed is None or xformers is None:
        return choices
    both = facts.machine.installed_version("xformers")
    version = Version(xformers.item.version) if xformers.item else both if xformers.kept else None
    refused = (
        version and resolution.torch and why_not_beside(version, installed, facts.machine, resolution.torch)
    )
    if not refused:
        return choices
    if both:
        planned = next(choice for choice in resolution.choices if choice.package == "flash-attn")
        return tuple(planned if choice is flash_attn else choice for choice in choices)
    dropped = none_fits("xformers", f"{version} {refused}")
    return tuple(dropped if choice is xformers else choice for choice in choices)


def distribution_name(item: Item) -> str:
    """Return the normalized name of the distribution: triton-windows for Triton."""
    return str(canonicalize_name(Requirement(item.requirement).name))


def label_of(wheel: Wheel) -> str | None:
    """Return the local version in a wheel's name, as in its metadata: "cu130torch2.10.0andhigher.post6"."""
    version = parse_version(unquote(wheel.filename).split("-")[1])
    return version.local if version else None
