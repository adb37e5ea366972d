"""Can flash-attn be built from source here, and if not, what prevents it?"""

from __future__ import annotations

from doctor.check import Check, Requirement
from doctor.checks.build_tools import cuda_home
from doctor.checks.build_tools import msvc as msvc_check
from doctor.checks.build_tools.build_relevance import has_flash_attn, why_flash_attn_cannot_run
from doctor.checks.build_tools.gpu_targets import why_not_for_gpu
from doctor.checks.packages import torch_cuda_build
from doctor.checks.shared import could_not_look, skipped, value_of, why_torch_is_unknown
from doctor.checks.system import long_paths as long_paths_check
from doctor.checks.system.folder_rules import LONGEST_PATH, PIP_FOLDERS, are_long_paths_on
from doctor.host import Found, Identity, Reading, RegistryValue, Unreadable
from doctor.models import Evidence, Finding
from doctor.probes.cuda import CUDA, CudaFacts
from doctor.probes.msvc import MSVC, MsvcFacts
from doctor.probes.nvidia import NVIDIA, NvidiaFacts
from doctor.probes.packages import FLASH_ATTN, TORCH, FlashAttnFacts, TorchFacts
from doctor.probes.system import IDENTITY, LONG_PATHS, LONG_PATHS_VALUE, TEMP, TempFacts
from wheels.source_build import flash_attn_build_faults, flash_attn_source

UNBUILDABLE = "known not to compile"
LINK = "https://github.com/Dao-AILab/flash-attention#installation-and-features"


def judge(
    cuda: CudaFacts,
    msvc: MsvcFacts,
    nvidia: NvidiaFacts,
    torch: TorchFacts,
    flash_attn: FlashAttnFacts,
    identity: Identity,
    temp: TempFacts,
    long_paths: Reading[RegistryValue],
) -> Finding:
    this, toolkit = value_of(torch.build), cuda.chosen_toolkit
    nvcc = toolkit.nvcc.value if toolkit is not None and isinstance(toolkit.nvcc, Found) else None
    unusable = why_not_for_gpu(nvcc, nvidia) if nvcc else "there is no CUDA toolkit (see cuda-toolkit)"
    obstacles = [unusable] if unusable else []
    if identity.os == "windows":
        if isinstance(msvc.installations, Unreadable):
            return could_not_look(CHECK.id, "the Visual Studio installations", msvc.installations.reason)
        if msvc.chosen is None:
            obstacles.append("there is no Microsoft C++ compiler (see msvc)")
        if isinstance(long_paths, Unreadable):
            return could_not_look(CHECK.id, LONG_PATHS_VALUE, long_paths.reason)
        obstacles += _too_long_paths(temp, are_long_paths_on(long_paths) is True)
    faults = flash_attn_build_faults(this.version, nvcc, identity.os)
    obstacles += faults
    finding = Finding(
        check=CHECK.id,
        status="ok",
        summary="flash-attn can be built from source here",
        measured="; ".join(obstacles) or "no known obstacle",
        expected="a prebuilt package: building takes hours, and many gigabytes of memory",
        links=(LINK,),
        evidence=tuple(Evidence(source="metadata", name=UNBUILDABLE, value=fault) for fault in faults),
    )
    if has_flash_attn(flash_attn, torch):
        return finding.but(summary="flash-attn is installed and need not be built", links=())
    if not obstacles:
        return finding
    more = f", and {len(obstacles) - 1} more" if len(obstacles) > 1 else ""
    summary = f"flash-attn cannot be built from source here: {obstacles[0]}{more}"
    return finding.but(status="info", summary=summary, impact=CHECK.why, hint=CHECK.by_hand)


def _too_long_paths(temp: TempFacts, long_paths: bool) -> list[str]:
    """The paths that are too long for Windows, or for the compiler, which does not support long paths."""
    folder = temp.process["TEMP"] or ""
    source = flash_attn_source()
    if not long_paths and len(folder) + PIP_FOLDERS + source.longest > LONGEST_PATH:
        return [
            f"pip cannot unpack its source: names have {source.longest} characters, and long paths are off"
        ]
    if len(folder) + PIP_FOLDERS + source.longest_without_rocm > LONGEST_PATH:
        return [
            f"ninja and cl.exe accept {LONGEST_PATH} characters: set TEMP to a short folder such as C:\\t"
        ]
    return []


def _cannot_run(check: str, nvidia: NvidiaFacts, torch: TorchFacts) -> Finding | None:
    reason = why_flash_attn_cannot_run(nvidia, torch)
    return skipped(check, reason) if reason else None


def _unknown_torch(check: str, torch: TorchFacts) -> Finding | None:
    if isinstance(torch.build, Found):
        return None
    return could_not_look(check, "torch, which a build would be for", why_torch_is_unknown(torch))


def _unreadable_toolkit(check: str, cuda: CudaFacts) -> Finding | None:
    toolkit = cuda.chosen_toolkit
    if toolkit is not None and isinstance(toolkit.nvcc, Unreadable):
        return could_not_look(check, f"nvcc in {toolkit.path}", toolkit.nvcc.reason)
    if (toolkit is None or not isinstance(toolkit.nvcc, Found)) and cuda.unreadable:
        return could_not_look(check, "the CUDA toolkits", "; ".join(cuda.unreadable))
    return None


CHECK = Check(
    id="source-build",
    group="build-tools",
    looks_at="What building flash-attn from its source archive needs: toolkit, compiler and path lengths, and combinations of torch and CUDA that are known not to compile.",
    why="`pip install flash-attn` on Windows always builds from source, because flash-attn publishes no packages for Windows, and a build can fail after hours.",
    by_hand="Install a prebuilt package (see flash-attn). To build anyway, remove the obstacles listed here and build in a short folder such as C:\\f, with few compilers at once.",
    probes=(CUDA, MSVC, NVIDIA, TORCH, FLASH_ATTN, IDENTITY, TEMP, LONG_PATHS),
    judge=judge,
    requires=(
        Requirement((NVIDIA, TORCH), _cannot_run),
        Requirement((TORCH,), _unknown_torch),
        Requirement((CUDA,), _unreadable_toolkit),
    ),
    because_of=(long_paths_check.CHECK, cuda_home.CHECK, msvc_check.CHECK, torch_cuda_build.CHECK),
)
