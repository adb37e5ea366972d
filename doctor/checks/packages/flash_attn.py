"""Is flash-attn installed, and built for this torch, this Python and these GPUs?"""

from __future__ import annotations

import re

from doctor.check import Check
from doctor.checks.build_tools import vc_redist
from doctor.checks.packages import torch_cuda_build, wheel_tags
from doctor.checks.requires import NVIDIA_GPU, TORCH_INSTALLED, complete, readable
from doctor.checks.shared import (
    cannot_tell,
    could_not_look,
    dotted,
    places_searched,
    torch_is,
    why_torch_is_unknown,
)
from doctor.checks.wheel_advice import Advice, advice
from doctor.host import Found, Identity, Unreadable
from doctor.models import Evidence, Finding, FindingChanges
from doctor.probes.nvidia import NVIDIA, NvidiaFacts
from doctor.probes.packages import (
    FLASH_ATTN,
    TORCH,
    XFORMERS,
    FlashAttnFacts,
    TorchFacts,
    XformersFacts,
)
from doctor.probes.system import IDENTITY
from doctor.probes.wheel_catalogue import WHEELS
from wheels.catalogue import Catalogue
from wheels.companions import exists_for_windows
from wheels.compatibility import contains_code_for, parse_version
from wheels.flash_attn_builds import (
    FlashAttnBuild,
    fetches_cuda_12_wheel,
    flash_attn_architectures,
    flash_attn_minimum_capability,
    parse_flash_attn,
)
from wheels.machine import TorchBuild

LINK = "https://github.com/Dao-AILab/flash-attention"


def judge(
    flash_attn: FlashAttnFacts,
    torch: TorchFacts,
    nvidia: NvidiaFacts,
    identity: Identity,
    wheels: Catalogue,
    xformers: XformersFacts,
) -> Finding:
    build = torch_is(torch)
    beside = _versions(xformers)
    advised = advice("flash-attn", identity, nvidia, build, wheels, beside) or Advice(CHECK.by_hand)
    if not isinstance(flash_attn.distribution, Found):
        return _not_installed(build, nvidia, identity, advised)
    if build is None:
        return cannot_tell(CHECK.id, "whether flash-attn fits torch", why_torch_is_unknown(torch))
    installed = flash_attn.distribution.value
    wheel = parse_flash_attn(installed.version, installed.direct_url)
    ok = Finding(
        check=CHECK.id,
        status="ok",
        summary=f"flash-attn {installed.version}",
        measured=f"flash-attn {installed.version}, built for torch {wheel.torch or 'unknown'}",
        expected=f"a build for {_target(build, identity)}",
        evidence=(
            Evidence(source="metadata", name="flash-attn version", value=installed.version),
            Evidence(source="metadata", name="flash-attn direct_url", value=installed.direct_url),
        ),
    )
    advised_to_act = ok.but(impact=CHECK.why, hint=advised.hint, links=(LINK,), fix=advised.fix)
    modules = flash_attn.extensions.value if isinstance(flash_attn.extensions, Found) else ()
    if fault := _fault(wheel, modules, build, nvidia, identity):
        return advised_to_act.but(status="error", summary=fault)
    if isinstance(flash_attn.missing, Unreadable):
        return could_not_look(CHECK.id, "the DLLs that flash-attn needs", flash_attn.missing.reason)
    if isinstance(flash_attn.missing, Found) and flash_attn.missing.value:
        return advised_to_act.but(**_missing_dlls(wheel, flash_attn.missing.value, build))
    if note := _note(wheel, build, nvidia, identity):
        summary, hint = note
        return advised_to_act.but(status="info", summary=summary, hint=hint, fix=None)
    return ok


def _target(build: TorchBuild | None, identity: Identity) -> str:
    """The build to look for: "torch 2.8, CUDA 12, Python 3.12, win_amd64"."""
    if build is None:
        return f"Python {identity.python_minor}, {identity.python_platform}"
    cuda = f", CUDA {build.cuda_major}" if build.cuda_major else ""
    return f"torch {build.minor}{cuda}, Python {identity.python_minor}, {identity.python_platform}"


def _versions(xformers: XformersFacts) -> tuple[tuple[str, str], ...]:
    found = xformers.distribution
    return (("xformers", found.value.version),) if isinstance(found, Found) else ()


def _not_installed(
    build: TorchBuild | None, nvidia: NvidiaFacts, identity: Identity, advised: Advice
) -> Finding:
    finding = Finding(
        check=CHECK.id,
        status="info",
        summary="flash-attn is not installed",
        measured="no flash-attn in this Python",
        expected=f"flash-attn for {_target(build, identity)}",
        impact=CHECK.why,
        links=(LINK,),
    )
    if _is_too_old(nvidia):
        oldest = dotted(flash_attn_minimum_capability())
        return finding.but(
            summary=f"flash-attn is not installed and needs a GPU of compute capability {oldest} or higher"
        )
    if build is not None and build.cuda_tag is None:
        return finding.but(hint="First install a CUDA build of torch (see torch-cuda-build).")
    if not nvidia.gpus:
        return finding
    summary = "flash-attn is not installed: training uses a slower attention"
    return finding.but(status="warning", summary=summary, hint=advised.hint, fix=advised.fix)


def _is_too_old(nvidia: NvidiaFacts) -> bool:
    return bool(nvidia.gpus) and max(nvidia.capabilities) < flash_attn_minimum_capability()


def _fault(
    wheel: FlashAttnBuild,
    modules: tuple[str, ...],
    build: TorchBuild,
    nvidia: NvidiaFacts,
    identity: Identity,
) -> str | None:
    """Why this wheel cannot be loaded or run here."""
    name = f"flash-attn {wheel.version}"
    if not modules:
        return f"{name} has no compiled module (flash_attn_2_cuda): its installation is damaged"
    pythons = {_python_of(module) for module in modules}
    if None not in pythons and identity.python_minor not in pythons:
        built_for = ", ".join(sorted(filter(None, pythons)))
        return f"{name} was built for Python {built_for}; this is Python {identity.python_minor}"
    if build.cuda_tag is None:
        return f"{name} needs a CUDA build of torch; installed: {build}"
    if wheel.torch not in (None, build.minor):
        return f"{name} was built for torch {wheel.torch}; installed: torch {build.minor}"
    if wheel.cuda_major not in (None, build.cuda_major):
        return f"{name} was built for CUDA {wheel.cuda_major}; torch has CUDA {build.cuda_major}"
    if gpu := _gpu_without_code(wheel, nvidia):
        return f"{name} was built with CUDA {wheel.cuda_major}.{wheel.cuda_minor} and has no code for {gpu}"
    return None


def _gpu_without_code(wheel: FlashAttnBuild, nvidia: NvidiaFacts) -> str | None:
    """The first GPU that flash-attn supports, but not this wheel. None if the wheel does not state its CUDA release."""
    if wheel.cuda_major is None or wheel.cuda_minor is None:
        return None
    architectures = flash_attn_architectures((wheel.cuda_major, wheel.cuda_minor), wheel.version) or ()
    for gpu in nvidia.gpus:
        supported = gpu.compute_capability >= flash_attn_minimum_capability()
        if supported and not contains_code_for(architectures, gpu.compute_capability):
            return gpu.name
    return None


def _missing_dlls(wheel: FlashAttnBuild, names: tuple[str, ...], build: TorchBuild) -> FindingChanges:
    listed = ", ".join(names)
    verb = "was" if len(names) == 1 else "were"
    return {
        "status": "error",
        "summary": f"flash-attn {wheel.version} cannot load: {listed} {verb} not found; installed: {build}",
        "measured": places_searched(names),
        "evidence": (
            Evidence(source="file", name="DLLs that flash_attn_2_cuda needs and lacks", value=list(names)),
        ),
    }


def _python_of(module: str) -> str | None:
    """ "flash_attn_2_cuda.cp312-win_amd64.pyd" -> "3.12"; None for a stable-ABI module."""
    match = re.search(r"\.(?:cp|cpython-)(\d)(\d{1,2})t?-", module)
    return f"{match.group(1)}.{match.group(2)}" if match else None


def _note(
    wheel: FlashAttnBuild, build: TorchBuild, nvidia: NvidiaFacts, identity: Identity
) -> tuple[str, str] | None:
    """The summary and the hint where this wheel is unused, or only running it shows whether it fits."""
    name = f"flash-attn {wheel.version}"
    if _is_too_old(nvidia):
        return f"{name} is installed, but this GPU is too old for it", ""
    if wheel.torch is None:
        return f"{name} does not state which torch it was built for", _how_to_know(wheel, build, identity)
    tag = f"cu{wheel.cuda_major}{wheel.cuda_minor}" if wheel.cuda_minor is not None else None
    if tag and identity.os == "windows" and exists_for_windows(wheel.torch, tag) is False:
        hint = "It may still work, because torch's CUDA has the same major version: see backend-flash-attn-2."
        return f"{name} was built for torch {wheel.torch} for {tag}, which was never released", hint
    return None


def _how_to_know(wheel: FlashAttnBuild, build: TorchBuild, identity: Identity) -> str:
    """For a wheel that does not state its torch. Only on Linux does an installation from source download a wheel."""
    version = parse_version(wheel.version)
    if identity.os == "linux" and version and fetches_cuda_12_wheel(version, build.cuda_major or 0):
        return "Installing this release downloads a wheel for CUDA 12, whatever CUDA torch has: use 2.8.3.post1 or newer."
    return "backend-flash-attn-2 tests whether it runs here."


CHECK = Check(
    id="flash-attn",
    group="packages",
    looks_at="The flash-attn package: its version, its source, the name of its compiled module and, on Windows, the DLLs that this module needs. Nothing is imported.",
    why="FlashAttention is the fastest attention with a window. A build for another torch, CUDA or Python fails with 'DLL load failed' or 'undefined symbol'.",
    by_hand="Install a prebuilt wheel whose name carries your torch, CUDA and Python versions (such as +cu128torch2.8-cp312), with pip's --no-deps. Plain `pip install flash-attn` compiles for hours on Windows.",
    probes=(FLASH_ATTN, TORCH, NVIDIA, IDENTITY, WHEELS, XFORMERS),
    judge=judge,
    because_of=(wheel_tags.CHECK, torch_cuda_build.CHECK, vc_redist.CHECK),
    requires=(
        NVIDIA_GPU,
        TORCH_INSTALLED,
        complete("flash-attn"),
        readable(FLASH_ATTN, "the installed packages", lambda flash_attn: flash_attn.distribution),
        readable(FLASH_ATTN, "flash-attn's files", lambda flash_attn: flash_attn.extensions),
    ),
)
