"""Is Triton installed in the version that this torch needs?"""

from __future__ import annotations

from dataclasses import dataclass

from packaging.version import Version

from doctor.actions import InstallPackages
from doctor.check import Check
from doctor.checks.packages import torch_cuda_build
from doctor.checks.requires import NVIDIA_GPU, TORCH_INSTALLED, complete, known_torch, readable
from doctor.checks.shared import could_not_look, for_this_python, pip_install, value_of
from doctor.checks.wheel_advice import Advice, advice
from doctor.host import Found, Identity
from doctor.models import Evidence, Finding, FindingChanges, Fix
from doctor.probes.nvidia import NVIDIA, NvidiaFacts
from doctor.probes.packages import TORCH, TRITON, TorchFacts, TritonFacts
from doctor.probes.system import IDENTITY
from doctor.probes.wheel_catalogue import WHEELS
from wheels.catalogue import Catalogue
from wheels.compatibility import minor, parse_version
from wheels.machine import TorchBuild
from wheels.triton_releases import (
    bitsandbytes_requirement,
    triton_minor,
    triton_windows_for_float8,
    triton_windows_minor,
    triton_windows_requirement,
    triton_windows_serves,
)

LINK = "https://github.com/woct0rdho/triton-windows"


@dataclass(frozen=True)
class Wanted:
    """The Triton for this torch. `minor` ("3.7") and `requirement` are None if aios does not know it."""

    package: str  # "triton-windows"
    minor: str | None
    requirement: str | None


def judge(
    triton: TritonFacts, torch: TorchFacts, nvidia: NvidiaFacts, identity: Identity, wheels: Catalogue
) -> Finding:
    build = value_of(torch.build)
    windows = identity.os == "windows"
    wanted = _wanted(build, windows)
    advised = advice("triton", identity, nvidia, build, wheels)
    advised = advised or Advice(CHECK.by_hand, _by_pip(identity, wanted.requirement))
    ok = _finding(triton, wanted, build)
    links = (LINK,) if windows else ()
    trouble = ok.but(status="error", impact=CHECK.why, hint=advised.hint, links=links, fix=advised.fix)
    if isinstance(triton.triton, Found) and isinstance(triton.triton_windows, Found):
        summary = "triton and triton-windows are both installed and overwrite each other's files"
        return trouble.but(summary=summary, fix=_only_one(identity, advised.fix))
    installed = triton.triton_windows if windows else triton.triton
    if not isinstance(installed, Found):
        summary = f"{wanted.package} is not installed: torch.compile cannot use the GPU"
        return trouble.but(status="info", summary=summary)
    text = installed.value.version
    version = parse_version(text)
    if version is None:
        return could_not_look(
            CHECK.id, f"the version of {wanted.package}", f"{text!r} is not a version number"
        )
    if wanted.minor is None:
        summary = f"{wanted.package} {version}: aios does not know which version torch {build.release} needs"
        return trouble.but(status="info", summary=summary, hint="", fix=None)
    if minor(version) != wanted.minor:
        summary = f"{wanted.package} {version} does not fit torch {build.release}, which needs {wanted.minor}"
        return trouble.but(summary=summary)
    if outdated := _outdated_bitsandbytes(triton, build, identity):
        return trouble.but(**outdated)
    fits = f"{wanted.package} {version} fits torch {build.release}"
    if windows and (limit := _limit(version, fits, nvidia)):
        return ok.but(status="info", summary=limit)
    return ok.but(summary=fits)


def _wanted(build: TorchBuild, windows: bool) -> Wanted:
    """No Triton of a fixed version belongs to a pre-release of torch."""
    if windows:
        release = None if build.version.is_prerelease else triton_windows_minor(build.version)
        return Wanted("triton-windows", release, triton_windows_requirement(build.version))
    release = None if build.version.is_prerelease else triton_minor(build.version)
    return Wanted("triton", release, f"triton=={release}.*" if release else None)


def _finding(triton: TritonFacts, wanted: Wanted, build: TorchBuild) -> Finding:
    packages = {
        "triton": triton.triton,
        "triton-windows": triton.triton_windows,
        "bitsandbytes": triton.bitsandbytes,
    }
    versions = {
        name: reading.value.version if isinstance(reading, Found) else None
        for name, reading in packages.items()
    }
    found = ", ".join(f"{name} {version}" for name, version in versions.items() if version)
    return Finding(
        check=CHECK.id,
        status="ok",
        summary="",
        measured=found or "no Triton in this Python",
        expected=wanted.requirement or f"{wanted.package} for torch {build.minor} (no published release)",
        evidence=tuple(
            Evidence(source="metadata", name=f"{name} version", value=version)
            for name, version in versions.items()
        ),
    )


def _limit(version: Version, fits: str, nvidia: NvidiaFacts) -> str | None:
    """What this triton-windows cannot do on one of the GPUs."""
    for gpu in nvidia.gpus:
        if not triton_windows_serves(version, gpu.compute_capability):
            return f"triton-windows {version} does not support {gpu.name}: torch.compile cannot use it"
        if newer := triton_windows_for_float8(version, gpu.compute_capability):
            return f"{fits}; float8 on {gpu.name} needs {newer}"
    return None


def _outdated_bitsandbytes(
    triton: TritonFacts, build: TorchBuild, identity: Identity
) -> FindingChanges | None:
    """For a bitsandbytes that imports a part of Triton that was removed."""
    if not isinstance(triton.bitsandbytes, Found):
        return None
    text = triton.bitsandbytes.value.version
    version = parse_version(text)
    requirement = version and bitsandbytes_requirement(version, build.version)
    if not requirement:
        return None
    upgrade = Fix(
        id="upgrade-bitsandbytes",
        applicability="manual",
        commands=(pip_install(identity, {"bitsandbytes": requirement}),),
    )
    if identity.in_virtual_environment:
        action = InstallPackages(packages=("bitsandbytes",), state=(requirement,))
        upgrade = upgrade.but(applicability="safe", actions=(action,))
    return {
        "status": "warning",
        "summary": f"bitsandbytes {text} imports triton.ops, which the Triton of torch {build.release} no longer has",
        "expected": f"bitsandbytes{requirement}",
        "impact": "Every program that imports bitsandbytes stops with \"No module named 'triton.ops'\".",
        "hint": "Upgrade bitsandbytes.",
        "links": ("https://github.com/bitsandbytes-foundation/bitsandbytes/issues/1492",),
        "fix": upgrade,
    }


def _by_pip(identity: Identity, requirement: str | None) -> Fix | None:
    """For Linux, where aios does not choose a Triton: torch depends on one, and pip can reinstall it."""
    if requirement is None:
        return None
    command = for_this_python(identity, "pip", f'install "{requirement}"')
    return Fix(id="install-triton", applicability="manual", commands=(command,))


def _only_one(identity: Identity, fix: Fix | None) -> Fix:
    """Uninstall both first, because each has overwritten files of the other."""
    uninstall = for_this_python(identity, "pip", "uninstall -y triton triton-windows")
    if fix is None:
        return Fix(id="install-triton", applicability="manual", commands=(uninstall,))
    by_hand = (uninstall, *fix.by_hand) if fix.by_hand else ()
    return fix.but(commands=(uninstall, *fix.commands), by_hand=by_hand)


CHECK = Check(
    id="triton",
    group="packages",
    looks_at="The packages triton and triton-windows, against the Triton version that this torch needs and the GPUs; and bitsandbytes, which may need an older Triton.",
    why="torch.compile generates its GPU code with Triton. Another version fails with 'cannot import name' errors.",
    by_hand="On Windows install triton-windows in the range for your torch, and never the package triton beside it. On Linux reinstall torch, which depends on the right Triton.",
    probes=(TRITON, TORCH, NVIDIA, IDENTITY, WHEELS),
    judge=judge,
    because_of=(torch_cuda_build.CHECK,),
    requires=(
        NVIDIA_GPU,
        TORCH_INSTALLED,
        complete("triton"),
        readable(TRITON, "the package triton", lambda triton: triton.triton),
        readable(TRITON, "the package triton-windows", lambda triton: triton.triton_windows),
        readable(TRITON, "the package bitsandbytes", lambda triton: triton.bitsandbytes),
        known_torch("which Triton torch needs"),
    ),
)
