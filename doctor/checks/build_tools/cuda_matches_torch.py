"""Is the CUDA toolkit of the version that PyTorch was built with?"""

from __future__ import annotations

from doctor.check import Check
from doctor.checks.build_tools import build_tool_fixes, cuda_home, cuda_toolkit
from doctor.checks.build_tools.build_relevance import as_needed
from doctor.checks.build_tools.cuda_home import fitting
from doctor.checks.packages import torch_cuda_build
from doctor.checks.shared import (
    could_not_look,
    dotted,
    skipped,
    skipped_without_nvidia,
    skipped_without_torch,
    why_torch_is_unknown,
)
from doctor.host import Found, Identity, Reading, Unreadable
from doctor.models import Evidence, Finding
from doctor.probes.cuda import CUDA, CudaFacts
from doctor.probes.nvidia import NVIDIA, NvidiaFacts
from doctor.probes.packages import FLASH_ATTN, TORCH, FlashAttnFacts, TorchFacts
from doctor.probes.system import IDENTITY
from doctor.probes.winget import WINGET
from wheels.compatibility import cuda_of_tag, tag_of_cuda


def judge(
    cuda: CudaFacts,
    torch: TorchFacts,
    identity: Identity,
    winget: Reading[str],
    nvidia: NvidiaFacts,
    flash_attn: FlashAttnFacts,
) -> Finding:
    not_applicable = skipped_without_nvidia(CHECK.id, nvidia) or skipped_without_torch(CHECK.id, torch)
    if not_applicable:
        return not_applicable
    if not isinstance(torch.build, Found):
        return could_not_look(CHECK.id, "torch's CUDA version", why_torch_is_unknown(torch))
    wanted = torch.build.value.cuda_version
    if wanted is None:
        return skipped(CHECK.id, "torch is a CPU build (see torch-cuda-build)")
    toolkit = cuda.chosen_toolkit
    if toolkit is not None and isinstance(toolkit.nvcc, Unreadable):
        return could_not_look(CHECK.id, f"nvcc in {toolkit.path}", toolkit.nvcc.reason)
    if toolkit is None or not isinstance(toolkit.nvcc, Found):
        if toolkit is None and cuda.unreadable:
            return could_not_look(CHECK.id, "the CUDA toolkits", "; ".join(cuda.unreadable))
        return skipped(CHECK.id, "there is no CUDA toolkit")
    if max(cuda.versions) < cuda_toolkit.OLDEST:
        return skipped(CHECK.id, "the CUDA toolkit is too old for any torch (see cuda-toolkit)")
    found = dotted(toolkit.nvcc.value)
    finding = Finding(
        check=CHECK.id,
        status="ok",
        summary=f"CUDA toolkit {found} fits torch, which was built with CUDA {wanted}",
        measured=f"toolkit {found} in {toolkit.path}",
        expected=f"CUDA {wanted}",
        evidence=(
            Evidence(source="program", name=f"nvcc in {toolkit.path}", value=found),
            Evidence(source="file", name="torch/version.py: cuda", value=wanted),
        ),
    )
    built_with = cuda_of_tag(tag_of_cuda(wanted))
    if toolkit.nvcc.value[0] != built_with[0]:
        if fitting(cuda, built_with):
            return skipped(CHECK.id, "a toolkit that fits torch is here, but not taken (see cuda-home)")
        trouble = finding.but(
            summary=f"CUDA toolkit {found} cannot build for torch, which was built with CUDA {wanted}",
            impact=CHECK.why,
            hint=CHECK.by_hand,
            links=(build_tool_fixes.CUDA_DOWNLOADS,),
            fix=build_tool_fixes.cuda_toolkit(identity, winget, wanted),
        )
        return as_needed(trouble, nvidia, torch, flash_attn)
    if found != wanted:
        return finding.but(
            status="info",
            summary=f"CUDA toolkit {found} and torch's CUDA {wanted} differ in the minor version, which PyTorch accepts",
        )
    return finding


CHECK = Check(
    id="cuda-matches-torch",
    group="build-tools",
    looks_at="The version of the toolkit that a build would take, against the CUDA version inside torch.",
    why="PyTorch refuses to build an extension with another CUDA major version: 'The detected CUDA version mismatches'.",
    by_hand="Install the toolkit of torch's CUDA version beside the other one, without the driver inside it, and set CUDA_HOME to it while building.",
    probes=(CUDA, TORCH, IDENTITY, WINGET, NVIDIA, FLASH_ATTN),
    judge=judge,
    because_of=(cuda_home.CHECK, torch_cuda_build.CHECK),
)
