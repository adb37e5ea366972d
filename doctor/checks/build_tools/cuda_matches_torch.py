"""Does the CUDA toolkit have the version that PyTorch was built with?"""

from __future__ import annotations

from doctor.check import Check, Requirement
from doctor.checks.build_tools import build_tool_fixes, cuda_home, cuda_toolkit
from doctor.checks.build_tools.build_relevance import with_build_severity
from doctor.checks.build_tools.cuda_home import fitting
from doctor.checks.build_tools.gpu_targets import why_not_for_gpu
from doctor.checks.packages import torch_cuda_build
from doctor.checks.requires import CUDA_TOOLKIT, CUDA_TORCH, NVIDIA_GPU, TORCH_INSTALLED
from doctor.checks.shared import (
    could_not_look,
    dotted,
    required,
    skipped,
    value_of,
    why_torch_is_unknown,
)
from doctor.host import Found, Identity, Reading
from doctor.models import Evidence, Finding
from doctor.probes.cuda import CUDA, CudaFacts
from doctor.probes.nvidia import NVIDIA, NvidiaFacts
from doctor.probes.packages import FLASH_ATTN, TORCH, FlashAttnFacts, TorchFacts
from doctor.probes.system import IDENTITY
from doctor.probes.winget import WINGET


def judge(
    cuda: CudaFacts,
    torch: TorchFacts,
    identity: Identity,
    winget: Reading[str],
    nvidia: NvidiaFacts,
    flash_attn: FlashAttnFacts,
) -> Finding:
    this, toolkit = value_of(torch.build), required(cuda.chosen_toolkit)
    nvcc = value_of(toolkit.nvcc)
    version, wanted = dotted(nvcc), this.cuda_version or ""
    finding = Finding(
        check=CHECK.id,
        status="ok",
        summary=f"CUDA toolkit {version} fits torch, which was built with CUDA {wanted}",
        measured=f"toolkit {version} in {toolkit.path}",
        expected=f"CUDA {wanted}",
        evidence=(
            Evidence(source="program", name=f"nvcc in {toolkit.path}", value=version),
            Evidence(source="file", name="torch/version.py: cuda", value=wanted),
        ),
    )
    if nvcc[0] != this.cuda_major:
        if fitting(cuda, this.cuda):
            return skipped(CHECK.id, "the installed toolkit that fits torch is not used (see cuda-home)")
        problem = finding.but(
            summary=f"CUDA toolkit {version} cannot build for torch, which was built with CUDA {wanted}",
            impact=CHECK.why,
            hint=CHECK.by_hand,
            links=(build_tool_fixes.CUDA_DOWNLOADS,),
            fix=build_tool_fixes.install_cuda_toolkit(identity, winget, wanted),
        )
        return with_build_severity(problem, nvidia, torch, flash_attn)
    if unsupported := why_not_for_gpu(nvcc, nvidia):
        return with_build_severity(_cannot_target(finding, unsupported), nvidia, torch, flash_attn)
    if nvcc != this.cuda:
        summary = f"CUDA toolkit {version} and torch's CUDA {wanted} differ in the minor version, which PyTorch accepts"
        return finding.but(status="info", summary=summary)
    return finding


def _cannot_target(finding: Finding, reason: str) -> Finding:
    return finding.but(
        summary=reason,
        impact="nvcc stops with 'Unsupported gpu architecture'.",
        hint="Set CUDA_HOME to another installed toolkit of torch's CUDA major version while building (see cuda-toolkit).",
    )


def _unknown_torch(check: str, torch: TorchFacts) -> Finding | None:
    if isinstance(torch.build, Found):
        return None
    return could_not_look(check, "torch's CUDA version", why_torch_is_unknown(torch))


def _too_old(check: str, cuda: CudaFacts) -> Finding | None:
    if max(cuda.versions) >= cuda_toolkit.OLDEST:
        return None
    return skipped(check, "the CUDA toolkit is too old for any torch (see cuda-toolkit)")


def _none_for_gpu(check: str, cuda: CudaFacts, nvidia: NvidiaFacts) -> Finding | None:
    if any(why_not_for_gpu(version, nvidia) is None for version in cuda.versions):
        return None
    return skipped(check, "no installed CUDA toolkit can compile for the GPU (see cuda-toolkit)")


CHECK = Check(
    id="cuda-matches-torch",
    group="build-tools",
    looks_at="The version of the toolkit that a build would use, compared with torch's CUDA version.",
    why="PyTorch refuses to build an extension with another CUDA major version: 'The detected CUDA version mismatches'.",
    by_hand="Install the toolkit of torch's CUDA version in addition, without the driver it contains, and set CUDA_HOME to it while building.",
    probes=(CUDA, TORCH, IDENTITY, WINGET, NVIDIA, FLASH_ATTN),
    judge=judge,
    requires=(
        NVIDIA_GPU,
        TORCH_INSTALLED,
        Requirement((TORCH,), _unknown_torch),
        CUDA_TORCH,
        CUDA_TOOLKIT,
        Requirement((CUDA,), _too_old),
        Requirement((CUDA, NVIDIA), _none_for_gpu),
    ),
    because_of=(cuda_home.CHECK, torch_cuda_build.CHECK),
)
