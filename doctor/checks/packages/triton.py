"""Is Triton installed in the version that this torch needs?"""

from __future__ import annotations

from packaging.version import Version

from doctor.actions import InstallPackages
from doctor.check import Check
from doctor.checks.packages import torch_cuda_build
from doctor.checks.shared import (
    NO_ADVICE,
    cannot_tell,
    could_not_look,
    for_this_python,
    pip_install,
    skipped_as_damaged,
    skipped_without_nvidia,
    skipped_without_torch,
    torch_is,
    why_torch_is_unknown,
)
from doctor.checks.wheel_advice import advice
from doctor.host import Distribution, Found, Identity, Reading, Unreadable
from doctor.models import Evidence, Finding, Fix
from doctor.probes.nvidia import NVIDIA, NvidiaFacts
from doctor.probes.packages import TORCH, TRITON, TorchFacts, TritonFacts
from doctor.probes.site_packages import SITE_PACKAGES, SitePackages
from doctor.probes.system import IDENTITY
from doctor.probes.wheel_catalogue import WHEELS
from wheels.catalogue import Catalogue
from wheels.companions import (
    bitsandbytes_requirement,
    triton_windows_for_float8,
    triton_windows_serves,
)
from wheels.compatibility import (
    minor,
    parse_version,
    triton_minor,
    triton_windows_minor,
    triton_windows_requirement,
)
from wheels.machine import TorchBuild

LINK = "https://github.com/woct0rdho/triton-windows"


def judge(
    triton: TritonFacts,
    torch: TorchFacts,
    nvidia: NvidiaFacts,
    identity: Identity,
    site: Reading[SitePackages],
    wheels: Catalogue,
) -> Finding:
    not_applicable = (
        skipped_without_nvidia(CHECK.id, nvidia)
        or skipped_without_torch(CHECK.id, torch)
        or skipped_as_damaged(CHECK.id, site, "triton")
    )
    if not_applicable:
        return not_applicable
    windows = identity.os == "windows"
    installed = {
        "triton": triton.triton,
        "triton-windows": triton.triton_windows,
        "bitsandbytes": triton.bitsandbytes,
    }
    for name, reading in installed.items():
        if isinstance(reading, Unreadable):
            return could_not_look(CHECK.id, f"the package {name}", reading.reason)
    this = torch_is(torch)
    if this is None:
        return cannot_tell(CHECK.id, "which Triton torch needs", why_torch_is_unknown(torch))
    minor_of = triton_windows_minor if windows else triton_minor
    wanted = None if this.version.is_prerelease else minor_of(this.version)
    name = "triton-windows" if windows else "triton"
    requirement = triton_windows_requirement(this.version) if windows else wanted and f"triton=={wanted}.*"
    advised = advice("triton", identity, nvidia, this, wheels)
    fix = advised.fix if advised else _by_pip(identity, requirement)
    finding = Finding(
        check=CHECK.id,
        status="info",
        summary="",
        measured=_measured(installed),
        expected=requirement or f"a {name} for torch {minor(this.version)}, which nobody has published",
        impact=CHECK.why,
        hint=advised.hint if advised else CHECK.by_hand,
        links=(LINK,) if windows else (),
        evidence=tuple(
            Evidence(source="metadata", name=f"{package} version", value=_version(reading))
            for package, reading in installed.items()
        ),
        fix=fix,
    )
    if isinstance(triton.triton, Found) and isinstance(triton.triton_windows, Found):
        return finding.model_copy(
            update={
                "status": "error",
                "summary": "triton and triton-windows are both installed, and overwrite each other's files",
                "fix": _only_one(identity, fix),
            }
        )
    present = triton.triton_windows if windows else triton.triton
    if not isinstance(present, Found):
        summary = f"{name} is not installed: torch.compile cannot use the GPU"
        return finding.model_copy(update={"summary": summary})
    version = parse_version(present.value.version)
    if version is None:
        return could_not_look(CHECK.id, f"{name}'s version", f"it calls itself {present.value.version!r}")
    if wanted is None:
        summary = f"{name} {version}: nobody here knows which one torch {this.release} needs"
        return finding.model_copy(update={"summary": summary, "hint": "", "fix": None})
    if minor(version) != wanted:
        summary = f"{name} {version} does not fit torch {this.release}, which needs {wanted}"
        return finding.model_copy(update={"status": "error", "summary": summary})
    if outdated := _outdated_bitsandbytes(triton, this, identity):
        return finding.model_copy(update=outdated)
    fits = f"{name} {version} fits torch {this.release}"
    if windows and (limit := _limit(version, fits, nvidia)):
        return finding.model_copy(update={**NO_ADVICE, "status": "info", "summary": limit})
    return finding.model_copy(update={**NO_ADVICE, "status": "ok", "summary": fits})


def _limit(version: Version, fits: str, nvidia: NvidiaFacts) -> str | None:
    """What this triton-windows cannot do on one of the GPUs."""
    for gpu in nvidia.gpus:
        if not triton_windows_serves(version, gpu.compute_capability):
            return f"triton-windows {version} makes no code for {gpu.name}: torch.compile cannot use it"
        if better := triton_windows_for_float8(version, gpu.compute_capability):
            return f"{fits}; float8 on {gpu.name} needs {better}"
    return None


def _outdated_bitsandbytes(
    triton: TritonFacts, this: TorchBuild, identity: Identity
) -> dict[str, object] | None:
    """What to say where bitsandbytes imports a part of Triton that is gone."""
    if not isinstance(triton.bitsandbytes, Found):
        return None
    text = triton.bitsandbytes.value.version
    version = parse_version(text)
    requirement = version and bitsandbytes_requirement(version, this.version)
    if not requirement:
        return None
    return {
        "status": "warning",
        "summary": f"bitsandbytes {text} imports triton.ops, which the Triton of torch {this.release} no longer has",
        "expected": f"bitsandbytes{requirement}",
        "impact": "Every program that imports bitsandbytes ends in \"No module named 'triton.ops'\".",
        "hint": "Upgrade bitsandbytes.",
        "links": ("https://github.com/bitsandbytes-foundation/bitsandbytes/issues/1492",),
        "fix": Fix(
            id="upgrade-bitsandbytes",
            applicability="safe" if identity.in_virtual_environment else "manual",
            commands=(pip_install(identity, {"bitsandbytes": requirement}),),
            actions=(InstallPackages(packages=("bitsandbytes",), state=(requirement,)),)
            if identity.in_virtual_environment
            else (),
        ),
    }


def _version(reading: Reading[Distribution]) -> str | None:
    return reading.value.version if isinstance(reading, Found) else None


def _measured(installed: dict[str, Reading[Distribution]]) -> str:
    found = [f"{name} {version}" for name, reading in installed.items() if (version := _version(reading))]
    return ", ".join(found) or "no Triton in this Python"


def _by_pip(identity: Identity, requirement: str | None) -> Fix | None:
    """Where aios chooses none: on Linux torch brings its own, which pip can put right."""
    if requirement is None:
        return None
    command = for_this_python(identity, "pip", f'install "{requirement}"')
    return Fix(id="install-triton", applicability="manual", commands=(command,))


def _only_one(identity: Identity, fix: Fix | None) -> Fix:
    """Both go, since each has files of the other, before the right one comes."""
    gone = for_this_python(identity, "pip", "uninstall -y triton triton-windows")
    if fix is None:
        return Fix(id="install-triton", applicability="manual", commands=(gone,))
    by_hand = (gone, *fix.by_hand) if fix.by_hand else ()
    return fix.model_copy(update={"commands": (gone, *fix.commands), "by_hand": by_hand})


CHECK = Check(
    id="triton",
    group="packages",
    looks_at="The packages triton and triton-windows, against the Triton version that this torch was made for and the GPUs; and bitsandbytes, which may ask for an older one.",
    why="torch.compile generates its GPU code with Triton; another version fails with 'cannot import name' errors.",
    by_hand="On Windows install triton-windows in the range for your torch, and never the package triton beside it; on Linux install torch again, which brings its own.",
    probes=(TRITON, TORCH, NVIDIA, IDENTITY, SITE_PACKAGES, WHEELS),
    judge=judge,
    because_of=(torch_cuda_build.CHECK,),
)
