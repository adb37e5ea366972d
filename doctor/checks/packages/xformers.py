"""Is xformers installed, and do its kernels fit this torch?"""

from __future__ import annotations

from packaging.specifiers import SpecifierSet
from packaging.version import Version

from doctor.check import Check
from doctor.checks.build_tools import vc_redist
from doctor.checks.packages import torch_cuda_build
from doctor.checks.shared import (
    NO_ADVICE,
    cannot_tell,
    could_not_look,
    nowhere,
    skipped_as_damaged,
    skipped_without_nvidia,
    skipped_without_torch,
    torch_is,
    why_torch_is_unknown,
)
from doctor.checks.wheel_advice import advice
from doctor.host import Absent, Distribution, Found, Identity, Reading, Unreadable
from doctor.models import Evidence, Finding
from doctor.probes.nvidia import NVIDIA, NvidiaFacts
from doctor.probes.packages import TORCH, XFORMERS, TorchFacts, XformersBuild, XformersFacts
from doctor.probes.site_packages import SITE_PACKAGES, SitePackages
from doctor.probes.system import IDENTITY
from doctor.probes.wheel_catalogue import WHEELS
from wheels.catalogue import Catalogue
from wheels.companions import is_pure_python_xformers
from wheels.compatibility import (
    minor,
    parse_version,
    xformers_fault,
    xformers_for_torch,
    xformers_torch_requirement,
)
from wheels.machine import TorchBuild

PLACEHOLDER = Version("0.0.0")
LINK = "https://github.com/facebookresearch/xformers"


def judge(
    xformers: XformersFacts,
    torch: TorchFacts,
    nvidia: NvidiaFacts,
    identity: Identity,
    site: Reading[SitePackages],
    wheels: Catalogue,
) -> Finding:
    not_applicable = (
        skipped_without_nvidia(CHECK.id, nvidia)
        or skipped_without_torch(CHECK.id, torch)
        or skipped_as_damaged(CHECK.id, site, "xformers")
    )
    if not_applicable:
        return not_applicable
    if isinstance(xformers.distribution, Unreadable):
        return could_not_look(CHECK.id, "the installed packages", xformers.distribution.reason)
    this = torch_is(torch)
    fitting = xformers_for_torch(this.version) if this else None
    expected = f"xformers {fitting}" if fitting else "the xformers release made for this torch"
    if isinstance(xformers.distribution, Absent):
        return _absent(expected)
    text = xformers.distribution.value.version
    version = parse_version(text)
    if version is None:
        return could_not_look(CHECK.id, "xformers' version", f"it calls itself {text!r}")
    if this is None:
        return cannot_tell(CHECK.id, "whether xformers fits torch", why_torch_is_unknown(torch))
    advised = advice("xformers", identity, nvidia, this, wheels)
    finding = Finding(
        check=CHECK.id,
        status="error",
        summary="",
        measured=f"xformers {text} with {this}",
        expected=expected,
        impact=CHECK.why,
        hint=advised.hint if advised else CHECK.by_hand,
        links=(LINK,),
        evidence=(Evidence(source="metadata", name="xformers version", value=text),),
        fix=advised.fix if advised else None,
    )
    if is_pure_python_xformers(version):
        return _on_mslk(finding, text, xformers.mslk)
    if fault := xformers_fault(version, identity.os, nvidia.capabilities):
        summary = f"xformers {text} does not work here: {fault.why}"
        return finding.model_copy(update={"summary": summary, "expected": f"xformers {fault.use}"})
    if isinstance(xformers.build, Unreadable):
        return could_not_look(CHECK.id, "what xformers was built with", xformers.build.reason)
    if isinstance(xformers.build, Absent):
        return finding.model_copy(update={"summary": f"xformers {text} has no compiled kernels inside"})
    built = xformers.build.value
    evidence = (*finding.evidence, Evidence(source="file", name="xformers/cpp_lib.json", value=str(built)))
    finding = finding.model_copy(update={"evidence": evidence})
    if trouble := _mismatch(version, built, this):
        return finding.model_copy(update={"summary": f"xformers {text} {trouble}"})
    if isinstance(xformers.missing, Unreadable):
        return could_not_look(CHECK.id, "the DLLs that xformers needs", xformers.missing.reason)
    if isinstance(xformers.missing, Found) and xformers.missing.value:
        lacking = ", ".join(xformers.missing.value)
        summary = f"xformers {text} cannot load its kernels: {lacking} is nowhere; this is {this}"
        return finding.model_copy(update={"summary": summary, "measured": nowhere(xformers.missing.value)})
    return finding.model_copy(update={**NO_ADVICE, "status": "ok", "summary": f"xformers {text} fits {this}"})


def _absent(expected: str) -> Finding:
    return Finding(
        check=CHECK.id,
        status="info",
        summary="xformers is not installed: the other backends serve without it",
        measured="no xformers in this Python",
        expected=expected,
        links=(LINK,),
    )


def _on_mslk(finding: Finding, text: str, mslk: Reading[Distribution]) -> Finding:
    """A development build without kernels of its own."""
    if isinstance(mslk, Unreadable):
        return could_not_look(CHECK.id, "the package mslk", mslk.reason)
    if isinstance(mslk, Found) and parse_version(mslk.value.version) != PLACEHOLDER:
        summary = f"xformers {text} has its kernels in mslk {mslk.value.version}: backend-xformers tells whether they run"
        update = {"status": "info", "summary": summary, "hint": "", "fix": None}
        return finding.model_copy(update=update)
    there = (
        f"mslk {mslk.value.version} is an empty placeholder"
        if isinstance(mslk, Found)
        else "mslk is not installed"
    )
    summary = f"xformers {text} has no kernels of its own, and {there}"
    return finding.model_copy(update={"summary": summary, "expected": "a release, not a development build"})


def _mismatch(xformers: Version, built: XformersBuild, this: TorchBuild) -> str | None:
    """How the kernels and torch differ, as a clause."""
    requirement = xformers_torch_requirement(xformers)
    built_for = parse_version(built.torch)
    if requirement is not None:
        if this.release not in SpecifierSet(requirement):
            return f"was made for torch{requirement}; this is torch {this.release}"
    elif built_for is None or minor(built_for) != minor(this.version):
        return f"was built with torch {built.torch}; this is torch {this.release}"
    if this.cuda_tag is None:
        return "needs a CUDA build of torch; this one is for the CPU (see torch-cuda-build)"
    if built.cuda is None:
        return "was built without CUDA"
    if built.cuda[0] != this.cuda_major:
        return f"was built with CUDA {built.cuda[0]}.{built.cuda[1]}; torch has CUDA {this.cuda_major}"
    return None


CHECK = Check(
    id="xformers",
    group="packages",
    looks_at="The xformers package: its version, xformers/cpp_lib.json, where its build states torch and CUDA, and on Windows the DLLs that its kernels need. Nothing is imported.",
    why="An xformers for another torch or CUDA imports with a warning and has no kernels; letting pip repair that may swap a CUDA torch for the CPU one.",
    by_hand="Install the release that your torch needs, built for its CUDA version, with pip's --no-deps, from PyTorch's own index.",
    probes=(XFORMERS, TORCH, NVIDIA, IDENTITY, SITE_PACKAGES, WHEELS),
    judge=judge,
    because_of=(torch_cuda_build.CHECK, vc_redist.CHECK),
)
