"""Is it clear which CUDA toolkit a build would take?"""

from __future__ import annotations

from doctor.check import Check
from doctor.checks.shared import cannot_tell, could_not_look, skipped, skipped_without_nvidia
from doctor.host import Absent, Found, Unreadable
from doctor.models import Evidence, Finding
from doctor.probes.cuda import PROBE, CudaFacts, same_path
from doctor.probes.nvidia import PROBE as NVIDIA
from doctor.probes.nvidia import NvidiaFacts


def judge(cuda: CudaFacts, nvidia: NvidiaFacts) -> Finding:
    if without := skipped_without_nvidia(CHECK.id, nvidia):
        return without
    variables = {"CUDA_HOME": cuda.cuda_home, "CUDA_PATH": cuda.cuda_path}
    named = {name: value for name, value in variables.items() if value}
    finding = Finding(
        check=CHECK.id,
        status="ok",
        summary=f"A build would take the toolkit in {cuda.chosen}",
        measured=", ".join(f"{name} is {value or 'not set'}" for name, value in variables.items()),
        expected="CUDA_HOME or CUDA_PATH names the toolkit to build with",
        evidence=tuple(
            Evidence(source="environment", name=name, value=value) for name, value in variables.items()
        ),
    )

    def warning(summary: str) -> Finding:
        update = {"status": "warning", "summary": summary, "impact": CHECK.why, "hint": CHECK.by_hand}
        return finding.model_copy(update=update)

    for name, path in named.items():
        toolkit = cuda.toolkit(path)
        if toolkit is not None and isinstance(toolkit.nvcc, Unreadable):
            return could_not_look(CHECK.id, f"{name} ({path})", toolkit.nvcc.reason)
        if toolkit is None or isinstance(toolkit.nvcc, Absent):
            return warning(f"{name} points to {path}, where there is no nvcc")
    if len(named) == 2 and not same_path(str(cuda.cuda_home), str(cuda.cuda_path)):
        return warning("CUDA_HOME and CUDA_PATH name different toolkits; PyTorch takes CUDA_HOME")
    usable = [toolkit for toolkit in cuda.toolkits if isinstance(toolkit.nvcc, Found)]
    if not named and len(usable) > 1 and len({toolkit.nvcc for toolkit in usable}) > 1:
        return warning(f"Several CUDA toolkits and no CUDA_HOME: a build would take {cuda.chosen}")
    if not named and cuda.unreadable:
        return cannot_tell(CHECK.id, "where CUDA toolkits are", "; ".join(cuda.unreadable))
    if not usable:
        return skipped(CHECK.id, "there is no CUDA toolkit")
    return finding


CHECK = Check(
    id="cuda-home",
    group="build-tools",
    looks_at="CUDA_HOME and CUDA_PATH, and the toolkit that PyTorch's build tools would take.",
    why="With several toolkits, or a variable left over from an old one, a build silently takes the wrong nvcc.",
    by_hand="Set CUDA_HOME to the toolkit of your PyTorch's CUDA version, in the terminal that builds; remove variables that point nowhere.",
    probes=(PROBE, NVIDIA),
    judge=judge,
)
