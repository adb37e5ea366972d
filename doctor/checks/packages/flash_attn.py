"""Is flash-attn installed, and built for this torch, this Python and these GPUs?"""

from __future__ import annotations

import re

from doctor.check import Check
from doctor.checks.build_tools import vc_redist
from doctor.checks.packages import torch_cuda_build, wheel_tags
from doctor.checks.shared import (
    NO_ADVICE,
    cannot_tell,
    could_not_look,
    dotted,
    nowhere,
    skipped_as_damaged,
    skipped_without_nvidia,
    skipped_without_torch,
    torch_is,
    why_torch_is_unknown,
)
from doctor.checks.wheel_advice import advice
from doctor.host import Absent, Found, Identity, Reading, Unreadable
from doctor.models import Evidence, Finding
from doctor.probes.nvidia import NVIDIA, NvidiaFacts
from doctor.probes.packages import FLASH_ATTN, TORCH, FlashAttnFacts, TorchFacts
from doctor.probes.site_packages import SITE_PACKAGES, SitePackages
from doctor.probes.system import IDENTITY
from doctor.probes.wheel_catalogue import WHEELS
from wheels.catalogue import Catalogue
from wheels.companions import exists_for_windows, fetches_cuda_12_wheel
from wheels.compatibility import (
    FlashAttnBuild,
    contains_code_for,
    flash_attn_architectures,
    flash_attn_minimum_capability,
    minor,
    parse_flash_attn,
    parse_version,
)
from wheels.machine import TorchBuild

LINK = "https://github.com/Dao-AILab/flash-attention"


def judge(
    flash_attn: FlashAttnFacts,
    torch: TorchFacts,
    nvidia: NvidiaFacts,
    identity: Identity,
    site: Reading[SitePackages],
    wheels: Catalogue,
) -> Finding:
    not_applicable = (
        skipped_without_nvidia(CHECK.id, nvidia)
        or skipped_without_torch(CHECK.id, torch)
        or skipped_as_damaged(CHECK.id, site, "flash-attn")
    )
    if not_applicable:
        return not_applicable
    this = torch_is(torch)
    if isinstance(flash_attn.distribution, Unreadable):
        return could_not_look(CHECK.id, "the installed packages", flash_attn.distribution.reason)
    if isinstance(flash_attn.distribution, Absent):
        return _absent(this, nvidia, identity, wheels)
    installed = flash_attn.distribution.value
    build = parse_flash_attn(installed.version, installed.direct_url)
    finding = Finding(
        check=CHECK.id,
        status="ok",
        summary=f"flash-attn {installed.version}",
        measured=f"flash-attn {installed.version}, built for torch {build.torch or 'unknown'}",
        expected=f"a build for {_wanted(this, identity)}",
        impact=CHECK.why,
        hint=CHECK.by_hand,
        links=(LINK,),
        evidence=(
            Evidence(source="metadata", name="flash-attn version", value=installed.version),
            Evidence(source="metadata", name="flash-attn direct_url", value=installed.direct_url),
        ),
    )
    if isinstance(flash_attn.extensions, Unreadable):
        return could_not_look(CHECK.id, f"flash-attn in {installed.location}", flash_attn.extensions.reason)
    names = flash_attn.extensions.value if isinstance(flash_attn.extensions, Found) else ()
    if this is None:
        return cannot_tell(CHECK.id, "whether flash-attn fits torch", why_torch_is_unknown(torch))
    trouble = _trouble(build, names, this, nvidia, identity)
    if trouble:
        fix = _fix(this, nvidia, identity, wheels)
        return finding.model_copy(update={"status": "error", "summary": trouble, **fix})
    if isinstance(flash_attn.missing, Found) and flash_attn.missing.value:
        fix = _fix(this, nvidia, identity, wheels)
        return finding.model_copy(update={**_missing(build, flash_attn.missing.value, this), **fix})
    if isinstance(flash_attn.missing, Unreadable):
        return could_not_look(CHECK.id, "the DLLs that flash-attn needs", flash_attn.missing.reason)
    if nvidia.gpus and max(nvidia.capabilities) < flash_attn_minimum_capability():
        summary = f"flash-attn {installed.version} is installed, but this GPU is too old for it"
        return finding.model_copy(update={"status": "info", "summary": summary, "hint": ""})
    if doubt := _doubt(build, this, identity):
        summary, hint = doubt
        return finding.model_copy(update={"status": "info", "summary": summary, "hint": hint})
    return finding.model_copy(update=NO_ADVICE)


def _wanted(this: TorchBuild | None, identity: Identity) -> str:
    """The build to look for: "torch 2.8, CUDA 12, Python 3.12, win_amd64"."""
    if this is None:
        return f"Python {identity.python_minor}, {identity.python_platform}"
    cuda = f", CUDA {this.cuda_major}" if this.cuda_major else ""
    return f"torch {minor(this.version)}{cuda}, Python {identity.python_minor}, {identity.python_platform}"


def _absent(this: TorchBuild | None, nvidia: NvidiaFacts, identity: Identity, wheels: Catalogue) -> Finding:
    finding = Finding(
        check=CHECK.id,
        status="info",
        summary="flash-attn is not installed",
        measured="no flash-attn in this Python",
        expected=f"flash-attn for {_wanted(this, identity)}",
        impact=CHECK.why,
        links=(LINK,),
    )
    needed = dotted(flash_attn_minimum_capability())
    if nvidia.gpus and max(nvidia.capabilities) < flash_attn_minimum_capability():
        summary = f"flash-attn is not installed, and needs a GPU of compute capability {needed} or higher"
        return finding.model_copy(update={"summary": summary})
    if this is not None and this.cuda_tag is None:
        hint = "First give torch a CUDA build (see torch-cuda-build)."
        return finding.model_copy(update={"hint": hint})
    if not nvidia.gpus:
        return finding
    return finding.model_copy(
        update={
            "status": "warning",
            "summary": "flash-attn is not installed: training uses a slower attention",
            **_fix(this, nvidia, identity, wheels),
        }
    )


def _fix(
    this: TorchBuild | None, nvidia: NvidiaFacts, identity: Identity, wheels: Catalogue
) -> dict[str, object]:
    """What to do: the wheel for this machine, or why there is none."""
    advised = advice("flash-attn", identity, nvidia, this, wheels)
    return {"hint": advised.hint, "fix": advised.fix} if advised else {"hint": CHECK.by_hand}


def _missing(build: FlashAttnBuild, names: tuple[str, ...], this: TorchBuild) -> dict[str, object]:
    listed = ", ".join(names)
    return {
        "status": "error",
        "summary": f"flash-attn {build.version} cannot load: {listed} is nowhere; this is {this}",
        "measured": nowhere(names),
        "evidence": (Evidence(source="file", name="DLLs that flash_attn_2_cuda lacks", value=list(names)),),
    }


def _python_of(extension: str) -> str | None:
    """ "flash_attn_2_cuda.cp312-win_amd64.pyd" -> "3.12"; None for a stable-ABI module."""
    match = re.search(r"\.(?:cp|cpython-)(\d)(\d{1,2})t?-", extension)
    return f"{match.group(1)}.{match.group(2)}" if match else None


def _trouble(
    build: FlashAttnBuild,
    extensions: tuple[str, ...],
    this: TorchBuild,
    nvidia: NvidiaFacts,
    identity: Identity,
) -> str | None:
    """Why this build cannot load or run here."""
    name = f"flash-attn {build.version}"
    pythons = {_python_of(extension) for extension in extensions}
    if not extensions:
        return f"{name} has no compiled module (flash_attn_2_cuda): the installation is damaged"
    if None not in pythons and identity.python_minor not in pythons:
        built_for = ", ".join(sorted(filter(None, pythons)))
        return f"{name} was built for Python {built_for}; this is Python {identity.python_minor}"
    if this.cuda_tag is None:
        return f"{name} needs a CUDA build of torch; this is {this}"
    if build.torch is not None and build.torch != minor(this.version):
        return f"{name} was built for torch {build.torch}; this is torch {minor(this.version)}"
    if build.cuda_major is None:
        return None
    if build.cuda_major != this.cuda_major:
        return f"{name} was built for CUDA {build.cuda_major}; torch has CUDA {this.cuda_major}"
    if build.cuda_minor is None:
        return None
    architectures = flash_attn_architectures((build.cuda_major, build.cuda_minor), build.version) or ()
    for gpu in nvidia.gpus:
        newer = gpu.compute_capability >= flash_attn_minimum_capability()
        if newer and not contains_code_for(architectures, gpu.compute_capability):
            return f"{name} was built with CUDA {build.cuda_major}.{build.cuda_minor}, which has no code for {gpu.name}"
    return None


def _doubt(build: FlashAttnBuild, this: TorchBuild, identity: Identity) -> tuple[str, str] | None:
    """Why only running it can tell whether this build fits, and what there is to know."""
    if build.torch is None:
        hint = "backend-flash-attn-2 tells whether it runs here."
        version = parse_version(build.version)
        on_linux = identity.os == "linux"  # elsewhere there is no wheel to fetch
        if on_linux and version and fetches_cuda_12_wheel(version, this.cuda_major or 0):
            hint = "Installing it fetches a wheel for CUDA 12, whatever CUDA torch has: take 2.8.3.post1 or newer."
        return f"flash-attn {build.version} does not state which torch it was built for", hint
    tag = f"cu{build.cuda_major}{build.cuda_minor}" if build.cuda_minor is not None else None
    if tag and identity.os == "windows" and exists_for_windows(build.torch, tag) is False:
        hint = "It may run all the same: torch's CUDA has the same major version. backend-flash-attn-2 tells."
        return f"flash-attn {build.version} names a torch that never was: {build.torch} for {tag}", hint
    return None


CHECK = Check(
    id="flash-attn",
    group="packages",
    looks_at="The flash-attn package: its version, where it came from, its compiled module's name and, on Windows, the DLLs that this module needs. Nothing is imported.",
    why="FlashAttention is the fastest attention with a window; a build for another torch, CUDA or Python fails with 'DLL load failed' or 'undefined symbol'.",
    by_hand="Install a prebuilt wheel whose name carries your torch, CUDA and Python versions (such as +cu128torch2.8-cp312), with pip's --no-deps. Plain `pip install flash-attn` compiles for hours on Windows.",
    probes=(FLASH_ATTN, TORCH, NVIDIA, IDENTITY, SITE_PACKAGES, WHEELS),
    judge=judge,
    because_of=(wheel_tags.CHECK, torch_cuda_build.CHECK, vc_redist.CHECK),
)
