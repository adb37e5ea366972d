"""Is the CUDA toolkit of the version that PyTorch was built with?"""

from __future__ import annotations

from doctor.check import Check
from doctor.checks.shared import (
    could_not_look,
    skipped,
    skipped_without_nvidia,
    skipped_without_torch,
    why_torch_is_unknown,
)
from doctor.host import Absent, Found, Unreadable
from doctor.models import Evidence, Finding
from doctor.probes.cuda import PROBE, CudaFacts
from doctor.probes.nvidia import PROBE as NVIDIA
from doctor.probes.nvidia import NvidiaFacts
from doctor.probes.packages import TORCH, TorchFacts


def judge(cuda: CudaFacts, torch: TorchFacts, nvidia: NvidiaFacts) -> Finding:
    not_applicable = skipped_without_nvidia(CHECK.id, nvidia) or skipped_without_torch(CHECK.id, torch)
    if not_applicable:
        return not_applicable
    if not isinstance(torch.build, Found):
        return could_not_look(CHECK.id, "torch's CUDA version", why_torch_is_unknown(torch))
    wanted = torch.build.value.cuda
    if wanted is None:
        return skipped(CHECK.id, "torch is a CPU build (see torch-cuda-build)")
    toolkit = cuda.toolkit(cuda.chosen) if cuda.chosen else None
    if toolkit is None or isinstance(toolkit.nvcc, Absent):
        return skipped(CHECK.id, "there is no CUDA toolkit")
    if isinstance(toolkit.nvcc, Unreadable):
        return could_not_look(CHECK.id, f"nvcc in {toolkit.path}", toolkit.nvcc.reason)
    major, minor = toolkit.nvcc.value
    found = f"{major}.{minor}"
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
    if str(major) != wanted.split(".")[0]:
        return finding.model_copy(
            update={
                "status": "warning",
                "summary": f"CUDA toolkit {found} cannot build for torch, which was built with CUDA {wanted}",
                "impact": CHECK.why,
                "hint": CHECK.by_hand,
            }
        )
    if found != wanted:
        return finding.model_copy(
            update={
                "status": "info",
                "summary": f"CUDA toolkit {found} and torch's CUDA {wanted} differ in the minor version, which PyTorch accepts",
            }
        )
    return finding


CHECK = Check(
    id="cuda-matches-torch",
    group="build-tools",
    looks_at="The version of the toolkit that a build would take, against the CUDA version inside torch.",
    why="PyTorch refuses to build an extension with another CUDA major version: 'The detected CUDA version mismatches'.",
    by_hand="Install the toolkit of torch's CUDA version beside the other one, and set CUDA_HOME to it while building.",
    probes=(PROBE, TORCH, NVIDIA),
    judge=judge,
)
