"""Do torchcodec, torchao and bitsandbytes fit this torch, and do compiled packages fit the installed NumPy?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from packaging.specifiers import SpecifierSet
from packaging.version import Version

from doctor.check import Check
from doctor.checks.packages import torch_cuda_build
from doctor.checks.packages.package_conflicts import MATTERING, marker_environment
from doctor.checks.requires import TORCH_INSTALLED, known_torch, present
from doctor.checks.shared import pip_install, several, value_of
from doctor.host import Absent, Distribution, Found, Identity, Reading
from doctor.models import Evidence, Finding, Fix, Status
from doctor.probes.companions import COMPANION_LIBRARIES, CompanionLibraries
from doctor.probes.packages import TORCH, TorchFacts
from doctor.probes.site_packages import INSTALLED, Installed
from doctor.probes.system import IDENTITY
from wheels.companions import (
    bitsandbytes_fault,
    companion_requirement,
    newest_bitsandbytes,
    oldest_for_numpy_2,
    refuses_numpy_2,
)
from wheels.compatibility import parse_version
from wheels.machine import TorchBuild
from wheels.requirements import unmet_requirements
from wheels.tags import is_native

JUDGED = ("torchcodec", "bitsandbytes", "torchao", "numpy")
FFMPEG = "https://github.com/meta-pytorch/torchcodec#installing-torchcodec"


@dataclass(frozen=True)
class Misfit:
    """A package that does not fit, as a sentence. `wanted`: specifiers of the packages to install instead, if known."""

    status: Status
    what: str
    hint: str
    wanted: dict[str, str]


def judge(
    installed: Reading[Installed], libraries: CompanionLibraries, torch: TorchFacts, identity: Identity
) -> Finding:
    packages, build = value_of(installed).distributions, value_of(torch.build)
    versions = {name: packages[name].version for name in JUDGED if name in packages}
    misfits = [
        *_torchcodec(packages.get("torchcodec"), build),
        *_bitsandbytes(packages.get("bitsandbytes"), libraries, build),
        *_numpy(packages, identity),
        *_torchao(packages.get("torchao"), build),
    ]
    listed = ", ".join(f"{name} {version}" for name, version in versions.items())
    finding = Finding(
        check=CHECK.id,
        status="ok",
        summary=f"{listed}: {'fit' if len(versions) > 1 else 'fits'} {build}"
        if listed
        else "None is installed",
        measured="; ".join(each.what for each in misfits) or listed or "none is installed",
        expected=f"packages that fit {build} and each other",
        evidence=tuple(
            Evidence(source="metadata", name=f"{name} version", value=version)
            for name, version in versions.items()
        ),
    )
    if misfits:
        return _problem(finding, misfits, identity)
    if "torchcodec" in versions and identity.os == "windows" and isinstance(libraries.ffmpeg, Absent):
        return _without_ffmpeg(finding, versions["torchcodec"])
    return finding


def _problem(finding: Finding, misfits: list[Misfit], identity: Identity) -> Finding:
    first = misfits[0]
    also = f" (and {len(misfits) - 1} more)" if len(misfits) > 1 else ""
    commands = (pip_install(identity, first.wanted),) if first.wanted else ()
    return finding.but(
        status=first.status,
        summary=f"{first.what}{also}",
        impact=CHECK.why,
        hint=first.hint,
        fix=Fix(id="install-companions", applicability="manual", commands=commands) if commands else None,
    )


def _torchcodec(package: Distribution | None, build: TorchBuild) -> Iterator[Misfit]:
    wanted = companion_requirement("torchcodec", build.version)
    version = parse_version(package.version) if package else None
    if wanted and version and version.base_version not in SpecifierSet(wanted):
        what = f"torchcodec {version} was built for another torch: {build} needs torchcodec{wanted}"
        yield Misfit("warning", what, "Install that release of torchcodec.", {"torchcodec": wanted})


def _torchao(package: Distribution | None, build: TorchBuild) -> Iterator[Misfit]:
    """torchao can be imported without its compiled parts, so this alone breaks nothing."""
    wanted = companion_requirement("torchao", build.version)
    version = parse_version(package.version) if package else None
    if wanted and version and version.base_version not in SpecifierSet(wanted):
        what = f"torchao {version} runs without its compiled parts, which need another torch than {build}"
        yield Misfit("info", what, f"To have them, install torchao{wanted}.", {"torchao": wanted})


def _bitsandbytes(
    package: Distribution | None, libraries: CompanionLibraries, build: TorchBuild
) -> Iterator[Misfit]:
    version = parse_version(package.version) if package else None
    if version is None or build.cuda is None or libraries.bitsandbytes_cuda:
        return
    fault = bitsandbytes_fault(version, build.version, build.cuda)
    there = libraries.bitsandbytes.value if isinstance(libraries.bitsandbytes, Found) else ()
    if fault is None or build.cuda_tag in there:
        return
    newest = newest_bitsandbytes()
    if bitsandbytes_fault(Version(newest), build.version, build.cuda) is None:
        hint, wanted = "Install a newer bitsandbytes.", {"bitsandbytes": f">={newest}"}
    else:
        hint, wanted = (
            "Install a torch for a CUDA version that bitsandbytes has, or uninstall bitsandbytes.",
            {},
        )
    yield Misfit("warning", f"bitsandbytes {version} {fault}; installed: {build}", hint, wanted)


def _numpy(packages: dict[str, Distribution], identity: Identity) -> Iterator[Misfit]:
    """Compiled packages that were built for NumPy 1, beside NumPy 2."""
    numpy = packages.get("numpy")
    version = parse_version(numpy.version) if numpy else None
    if version is None or version.major < 2:
        return
    broken = [
        f"{name} {package.version}"
        for name, package in packages.items()
        if name not in MATTERING
        and is_native(package.wheel_tags)
        and _built_for_numpy_1(name, package, version, identity)
    ]
    if broken:
        what = f"{several(broken, 3)} {'needs' if len(broken) == 1 else 'need'} NumPy 1; installed: NumPy {version}"
        hint = "Upgrade them, or install NumPy 1: torch works with both."
        yield Misfit("warning", what, hint, {each.partition(" ")[0]: "" for each in broken})


def _built_for_numpy_1(name: str, package: Distribution, numpy: Version, identity: Identity) -> bool:
    oldest, version = oldest_for_numpy_2(name), parse_version(package.version)
    if oldest and version and version < Version(oldest):
        return True
    unmet = unmet_requirements(name, package.requires, {"numpy": str(numpy)}, marker_environment(identity))
    return any(each.requirement == "numpy" and refuses_numpy_2(each.specifier) for each in unmet)


def _without_ffmpeg(finding: Finding, version: str) -> Finding:
    return finding.but(
        status="info",
        summary=f"torchcodec {version}: no FFmpeg libraries (avcodec-*.dll) on PATH or in the environment",
        impact="Without them torchcodec cannot load its libraries: 'Could not load libtorchcodec'.",
        hint="Install a shared build of FFmpeg, and add its bin folder to PATH.",
        links=(FFMPEG,),
    )


CHECK = Check(
    id="companions",
    group="packages",
    looks_at="The versions of torchcodec, torchao and bitsandbytes against torch, bitsandbytes' libraries against torch's CUDA, FFmpeg's libraries for torchcodec, and compiled packages against the major version of NumPy. Nothing is imported. torchvision and torchaudio have a check of their own.",
    why="Each of these is built for some releases of torch or NumPy; with others it fails on import, often inside a package that uses it.",
    by_hand="Install the releases named here, with --no-deps where pip wants to replace torch.",
    probes=(INSTALLED, COMPANION_LIBRARIES, TORCH, IDENTITY),
    judge=judge,
    because_of=(torch_cuda_build.CHECK,),
    requires=(
        TORCH_INSTALLED,
        known_torch("which packages torch fits"),
        present(INSTALLED, "the installed packages"),
    ),
)
