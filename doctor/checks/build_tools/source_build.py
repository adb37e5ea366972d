"""Could flash-attn be built from source here, and what stands in the way?"""

from __future__ import annotations

from doctor.check import Check
from doctor.checks.build_tools import cuda_home
from doctor.checks.build_tools import msvc as msvc_check
from doctor.checks.build_tools.build_relevance import is_installed, why_not
from doctor.checks.packages import torch_cuda_build
from doctor.checks.shared import could_not_look, skipped, torch_is, why_torch_is_unknown
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
    if reason := why_not(nvidia, torch):
        return skipped(CHECK.id, reason)
    this = torch_is(torch)
    if this is None:
        return could_not_look(CHECK.id, "torch, which a build would be for", why_torch_is_unknown(torch))
    toolkit = cuda.chosen_toolkit
    if toolkit is not None and isinstance(toolkit.nvcc, Unreadable):
        return could_not_look(CHECK.id, f"nvcc in {toolkit.path}", toolkit.nvcc.reason)
    nvcc = toolkit.nvcc.value if toolkit is not None and isinstance(toolkit.nvcc, Found) else None
    if nvcc is None and cuda.unreadable:
        return could_not_look(CHECK.id, "the CUDA toolkits", "; ".join(cuda.unreadable))
    missing = [] if nvcc else ["there is no CUDA toolkit (see cuda-toolkit)"]
    if identity.os == "windows":
        if isinstance(msvc.installations, Unreadable):
            return could_not_look(CHECK.id, "the Visual Studio installations", msvc.installations.reason)
        if msvc.chosen is None:
            missing.append("there is no Microsoft C++ compiler (see msvc)")
        if isinstance(long_paths, Unreadable):
            return could_not_look(CHECK.id, LONG_PATHS_VALUE, long_paths.reason)
        missing += _paths(temp, are_long_paths_on(long_paths) is True)
    faults = flash_attn_build_faults(this.version, nvcc, identity.os)
    obstacles = (*missing, *faults)
    measured = "; ".join(obstacles) or "nothing known stands in the way"
    finding = Finding(
        check=CHECK.id,
        status="ok",
        summary="flash-attn could be built from source here",
        measured=measured,
        expected="a prebuilt package: building takes hours, and many gigabytes of memory",
        links=(LINK,),
        evidence=tuple(
            Evidence(source="metadata", name="known not to compile", value=fault) for fault in faults
        ),
    )
    if is_installed(flash_attn, torch):
        summary = "flash-attn is installed: nothing needs building"
        return finding.but(summary=summary, links=())
    if not obstacles:
        return finding
    more = f", and {len(obstacles) - 1} more" if len(obstacles) > 1 else ""
    return finding.but(
        status="info",
        summary=f"flash-attn cannot be built from source here: {obstacles[0]}{more}",
        impact=CHECK.why,
        hint=CHECK.by_hand,
    )


def _paths(temp: TempFacts, long_paths: bool) -> list[str]:
    """What is too long for Windows, or for the compiler, which knows no long paths."""
    folder = temp.process["TEMP"] or ""
    source = flash_attn_source()
    if not long_paths and len(folder) + PIP_FOLDERS + source.longest > LONGEST_PATH:
        return [f"pip cannot unpack its source: names of {source.longest} characters, and long paths are off"]
    if len(folder) + PIP_FOLDERS + source.longest_without_rocm > LONGEST_PATH:
        return [
            f"ninja and cl.exe stop at {LONGEST_PATH} characters: set TEMP to a short folder, such as C:\\t"
        ]
    return []


CHECK = Check(
    id="source-build",
    group="build-tools",
    looks_at="What building flash-attn from its source archive would take: toolkit, compiler, path lengths, and pairs of torch and CUDA with which it is known not to compile.",
    why="`pip install flash-attn` on Windows always builds from source: flash-attn publishes no packages for Windows, and the build fails after minutes or hours.",
    by_hand="Install a prebuilt package (see flash-attn). To build all the same: clear what is named here away, and build in a short folder such as C:\\f, with few compilers at once.",
    probes=(CUDA, MSVC, NVIDIA, TORCH, FLASH_ATTN, IDENTITY, TEMP, LONG_PATHS),
    judge=judge,
    because_of=(long_paths_check.CHECK, cuda_home.CHECK, msvc_check.CHECK, torch_cuda_build.CHECK),
)
