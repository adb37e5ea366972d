"""Does nvcc accept the gcc that a build would use?"""

from __future__ import annotations

from doctor.check import Check, Requirement
from doctor.checks.build_tools import cuda_home
from doctor.checks.build_tools.build_relevance import with_build_severity
from doctor.checks.requires import CUDA_TOOLKIT, NVIDIA_GPU
from doctor.checks.shared import cannot_tell, could_not_look, dotted, required, skipped, torch_is, value_of
from doctor.host import Absent, Found, Unreadable
from doctor.models import Evidence, Finding, Fix
from doctor.probes.cuda import CUDA, CudaFacts
from doctor.probes.gcc import GCC, GccFacts
from doctor.probes.nvidia import NVIDIA, NvidiaFacts
from doctor.probes.packages import FLASH_ATTN, TORCH, FlashAttnFacts, TorchFacts
from wheels.source_build import newest_gcc_for_nvcc

LINK = "https://docs.nvidia.com/cuda/cuda-installation-guide-linux/"
DECIDED = ("-ccbin", "--compiler-bindir", "-allow-unsupported-compiler")  # flags of nvcc


def judge(
    cuda: CudaFacts, gcc: GccFacts, nvidia: NvidiaFacts, torch: TorchFacts, flash_attn: FlashAttnFacts
) -> Finding:
    toolkit, version = required(cuda.chosen_toolkit), value_of(gcc.version)
    nvcc, this = value_of(toolkit.nvcc), torch_is(torch)
    if this is not None and this.cuda_major not in (None, nvcc[0]):
        return skipped(CHECK.id, "the CUDA toolkit does not fit torch (see cuda-matches-torch)")
    stated = toolkit.newest_gcc.value if isinstance(toolkit.newest_gcc, Found) else None
    newest = stated or newest_gcc_for_nvcc(nvcc)
    if newest is None:
        return cannot_tell(CHECK.id, f"which gcc nvcc {dotted(nvcc)} accepts", "host_config.h is missing")
    finding = Finding(
        check=CHECK.id,
        status="ok",
        summary=f"nvcc {dotted(nvcc)} accepts gcc {dotted(version)}",
        measured=f"{gcc.name} {dotted(version)}, nvcc {dotted(nvcc)}",
        expected=f"gcc {newest} or older",
        evidence=(
            Evidence(source="program", name=f"nvcc in {toolkit.path}", value=dotted(nvcc)),
            Evidence(source="program", name=gcc.name, value=dotted(version)),
            Evidence(source="environment", name="flags for nvcc", value=gcc.flags or None),
        ),
    )
    if version[0] <= newest or any(flag in gcc.flags for flag in DECIDED):
        return finding
    commands = (
        f"sudo apt install gcc-{newest} g++-{newest}",
        f"export CC=gcc-{newest} CXX=g++-{newest} NVCC_CCBIN=g++-{newest}",
    )
    problem = finding.but(
        summary=f"nvcc {dotted(nvcc)} rejects gcc {dotted(version)}: it accepts versions up to {newest}",
        impact=CHECK.why,
        hint=f"Install gcc {newest} in addition, and build with that one: {commands[-1]}",
        links=(LINK,),
        fix=Fix(id="install-older-gcc", applicability="manual", elevated=True, commands=commands),
    )
    return with_build_severity(problem, nvidia, torch, flash_attn)


def _no_gcc(check: str, gcc: GccFacts) -> Finding | None:
    if isinstance(gcc.version, Unreadable):
        return could_not_look(check, gcc.name, gcc.version.reason)
    if isinstance(gcc.version, Absent):
        return skipped(check, f"{gcc.name} is not an installed gcc")
    return None


CHECK = Check(
    id="gcc-supported-by-nvcc",
    group="build-tools",
    looks_at="The version of the gcc that nvcc would call (NVCC_CCBIN, CC, or gcc on PATH), and crt/host_config.h of the CUDA toolkit that a build would use.",
    why="nvcc stops with 'unsupported GNU version! gcc versions later than 12 are not supported' if gcc is newer than it knows.",
    by_hand="Install an older gcc beside the system's and name it in CC, CXX and NVCC_CCBIN, or use a newer CUDA toolkit or a prebuilt package. '-allow-unsupported-compiler' may produce broken code.",
    probes=(CUDA, GCC, NVIDIA, TORCH, FLASH_ATTN),
    judge=judge,
    requires=(NVIDIA_GPU, CUDA_TOOLKIT, Requirement((GCC,), _no_gcc)),
    systems=frozenset({"linux"}),
    because_of=(cuda_home.CHECK,),
)
