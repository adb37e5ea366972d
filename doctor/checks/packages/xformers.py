"""Is xformers installed, and do its kernels fit this torch?"""

from __future__ import annotations

from packaging.specifiers import SpecifierSet
from packaging.version import Version

from doctor.check import Check
from doctor.checks.build_tools import vc_redist
from doctor.checks.packages import torch_cuda_build
from doctor.checks.requires import NVIDIA_GPU, TORCH_INSTALLED, complete, readable
from doctor.checks.shared import (
    cannot_tell,
    could_not_look,
    for_this_python,
    places_searched,
    torch_is,
    why_torch_is_unknown,
)
from doctor.checks.wheel_advice import Advice, advice
from doctor.host import Absent, Found, Identity, Unreadable
from doctor.models import Evidence, Finding, Fix
from doctor.probes.nvidia import NVIDIA, NvidiaFacts
from doctor.probes.packages import (
    FLASH_ATTN,
    TORCH,
    XFORMERS,
    FlashAttnFacts,
    TorchFacts,
    XformersBuild,
    XformersFacts,
)
from doctor.probes.system import IDENTITY
from doctor.probes.wheel_catalogue import WHEELS
from doctor.probes.wheel_machine import machine_of
from wheels.catalogue import Catalogue
from wheels.compatibility import minor, parse_version
from wheels.machine import TorchBuild
from wheels.xformers import why_not_beside
from wheels.xformers_releases import (
    accepted_flash_attn,
    bounds,
    is_pure_python_xformers,
    xformers_fault,
    xformers_for_torch,
    xformers_torch_requirement,
)

PLACEHOLDER = Version("0.0.0")
LINK = "https://github.com/facebookresearch/xformers"


def judge(
    xformers: XformersFacts,
    torch: TorchFacts,
    nvidia: NvidiaFacts,
    identity: Identity,
    wheels: Catalogue,
    flash_attn: FlashAttnFacts,
) -> Finding:
    build = torch_is(torch)
    if not isinstance(xformers.distribution, Found):
        return _not_installed(build)
    text = xformers.distribution.value.version
    version = parse_version(text)
    if version is None:
        return could_not_look(CHECK.id, "xformers' version", f"{text!r} is not a version number")
    if build is None:
        return cannot_tell(CHECK.id, "whether xformers fits torch", why_torch_is_unknown(torch))
    installed = _versions(flash_attn)
    advised = advice("xformers", identity, nvidia, build, wheels, installed) or Advice(CHECK.by_hand)
    ok = Finding(
        check=CHECK.id,
        status="ok",
        summary=f"xformers {text} fits {build}",
        measured=f"xformers {text} with {build}",
        expected=_expected(build),
        evidence=(Evidence(source="metadata", name="xformers version", value=text),),
    )
    trouble = ok.but(status="error", impact=CHECK.why, hint=advised.hint, links=(LINK,), fix=advised.fix)
    if is_pure_python_xformers(version):
        return _with_kernels_in_mslk(text, xformers, trouble)
    if fault := xformers_fault(version, identity.os, nvidia.capabilities):
        summary = f"xformers {text} does not work here: {fault.why}"
        finding = trouble.but(summary=summary, expected=fault.use)
        return finding if advised.fix else _to_uninstall(finding, fault.use, identity)
    finding = _judge_kernels(text, version, xformers, build, ok, trouble)
    if finding.status != "ok" or isinstance(flash_attn.distribution, Unreadable):
        return finding
    replaced = advice("flash-attn", identity, nvidia, build, wheels, (("xformers", text),))
    beside = _judge_beside_flash_attn(text, version, installed, build, identity, nvidia, finding)
    return _with_advice(beside, replaced) if beside else finding


def _expected(build: TorchBuild | None) -> str:
    release = xformers_for_torch(build.version) if build else None
    return f"xformers {release}" if release else "the xformers release made for this torch"


def _not_installed(build: TorchBuild | None) -> Finding:
    return Finding(
        check=CHECK.id,
        status="info",
        summary="xformers is not installed: the other backends work without it",
        measured="no xformers in this Python",
        expected=_expected(build),
        links=(LINK,),
    )


def _with_kernels_in_mslk(text: str, xformers: XformersFacts, trouble: Finding) -> Finding:
    """A development build without kernels of its own."""
    mslk = xformers.mslk
    if isinstance(mslk, Unreadable):
        return could_not_look(CHECK.id, "the package mslk", mslk.reason)
    if isinstance(mslk, Found) and parse_version(mslk.value.version) != PLACEHOLDER:
        return trouble.but(
            status="info",
            summary=f"xformers {text} has its kernels in mslk {mslk.value.version}: backend-xformers tests whether they run",
            hint="",
            fix=None,
        )
    state = (
        f"mslk {mslk.value.version} is an empty placeholder"
        if isinstance(mslk, Found)
        else "mslk is not installed"
    )
    summary = f"xformers {text} has no kernels of its own, and {state}"
    return trouble.but(summary=summary, expected="a release, not a development build")


def _judge_kernels(
    text: str, version: Version, xformers: XformersFacts, build: TorchBuild, ok: Finding, trouble: Finding
) -> Finding:
    """Judge the compiled kernels by the versions they were built with and by the DLLs that they need."""
    if isinstance(xformers.build, Unreadable):
        return could_not_look(CHECK.id, "what xformers was built with", xformers.build.reason)
    if isinstance(xformers.build, Absent):
        return trouble.but(summary=f"xformers {text} contains no compiled kernels")
    kernels = xformers.build.value
    evidence = (*ok.evidence, Evidence(source="file", name="xformers/cpp_lib.json", value=str(kernels)))
    if mismatch := _mismatch(version, kernels, build):
        return trouble.but(summary=f"xformers {text} {mismatch}", evidence=evidence)
    if isinstance(xformers.missing, Unreadable):
        return could_not_look(CHECK.id, "the DLLs that xformers needs", xformers.missing.reason)
    if isinstance(xformers.missing, Found) and (missing := xformers.missing.value):
        verb = "was" if len(missing) == 1 else "were"
        summary = f"xformers {text} cannot load its kernels: {', '.join(missing)} {verb} not found; installed: {build}"
        return trouble.but(summary=summary, measured=places_searched(missing), evidence=evidence)
    return ok.but(evidence=evidence)


def _versions(flash_attn: FlashAttnFacts) -> tuple[tuple[str, str], ...]:
    found = flash_attn.distribution
    return (("flash-attn", found.value.version),) if isinstance(found, Found) else ()


def _with_advice(finding: Finding, advised: Advice | None) -> Finding:
    """Return a finding about a flash-attn that xformers refuses, with the command that replaces it."""
    return finding.but(fix=advised.fix) if advised and finding.status == "error" else finding


def _to_uninstall(finding: Finding, instead: str, identity: Identity) -> Finding:
    """No release for this torch works on this machine."""
    return finding.but(
        hint=f"Uninstall xformers and use {instead}.",
        fix=Fix(
            id="uninstall-xformers",
            applicability="manual",
            commands=(for_this_python(identity, "pip", "uninstall xformers"),),
        ),
    )


def _judge_beside_flash_attn(
    text: str,
    version: Version,
    installed: tuple[tuple[str, str], ...],
    build: TorchBuild,
    identity: Identity,
    nvidia: NvidiaFacts,
    ok: Finding,
) -> Finding | None:
    """Judge whether xformers accepts the installed flash-attn, or needs one on these GPUs. None: it works.

    That flash-attn is missing is the finding of its own check, so this one only adds what follows from it.
    """
    machine = machine_of(identity, nvidia, build)
    flash_attn = dict(installed).get("flash-attn")
    other = parse_version(flash_attn) if flash_attn else None
    if machine is None or (flash_attn and other is None):
        return None
    accepted = accepted_flash_attn(version)
    why = why_not_beside(version, other, machine, build)
    if why is None or accepted is None:
        return None
    instead = f"flash-attn {bounds(accepted)}"
    finding = ok.but(summary=f"xformers {text} {why}", expected=f"xformers {text} with {instead}")
    if flash_attn is None:
        return finding.but(status="info", impact="Without it every call of xformers' attention fails here.")
    return finding.but(
        status="error",
        impact="Importing xformers.ops fails.",
        hint=f"Install {instead}, or uninstall xformers: PyTorch's own attention (sdpa) works without both.",
        links=(LINK,),
    )


def _mismatch(xformers: Version, kernels: XformersBuild, build: TorchBuild) -> str | None:
    """How the kernels and torch differ, as a clause."""
    requirement = xformers_torch_requirement(xformers)
    built_for = parse_version(kernels.torch)
    if requirement is not None:
        if build.release not in SpecifierSet(requirement):
            return f"requires torch{requirement}; installed: torch {build.release}"
    elif built_for is None or minor(built_for) != build.minor:
        return f"was built with torch {kernels.torch}; installed: torch {build.release}"
    if build.cuda_tag is None:
        return f"needs a CUDA build of torch; installed: {build} (see torch-cuda-build)"
    if kernels.cuda is None:
        return "was built without CUDA"
    if kernels.cuda[0] != build.cuda_major:
        return f"was built with CUDA {kernels.cuda[0]}.{kernels.cuda[1]}; torch has CUDA {build.cuda_major}"
    return None


CHECK = Check(
    id="xformers",
    group="packages",
    looks_at="The xformers package: its version, xformers/cpp_lib.json (which torch and CUDA it was built with), the version of flash-attn beside it and, on Windows, the DLLs that its kernels need. Nothing is imported.",
    why="An xformers for another torch or CUDA imports with a warning and has no kernels. Beside a flash-attn that it does not accept, its attention cannot be imported; on GPUs above compute capability 9.0, xformers 0.0.33 and newer have no kernels of their own. If pip repairs that, it may replace a CUDA torch with the CPU build.",
    by_hand="Install the release that your torch needs, built for its CUDA version, with pip's --no-deps from PyTorch's own index.",
    probes=(XFORMERS, TORCH, NVIDIA, IDENTITY, WHEELS, FLASH_ATTN),
    judge=judge,
    because_of=(torch_cuda_build.CHECK, vc_redist.CHECK),
    requires=(
        NVIDIA_GPU,
        TORCH_INSTALLED,
        complete("xformers"),
        readable(XFORMERS, "the installed packages", lambda xformers: xformers.distribution),
    ),
)
