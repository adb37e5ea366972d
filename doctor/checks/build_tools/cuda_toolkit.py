"""Is a CUDA toolkit (nvcc) installed, for building packages from source?"""

from __future__ import annotations

from doctor.check import Check
from doctor.checks.build_tools import build_tool_fixes
from doctor.checks.build_tools.build_relevance import with_build_severity
from doctor.checks.build_tools.gpu_targets import why_not_for_gpu
from doctor.checks.requires import NVIDIA_GPU
from doctor.checks.shared import could_not_look, dotted, torch_is
from doctor.host import Found, Identity, Reading, Unreadable
from doctor.models import Evidence, Finding
from doctor.probes.cuda import CUDA, CudaFacts
from doctor.probes.nvidia import NVIDIA, NvidiaFacts
from doctor.probes.packages import FLASH_ATTN, TORCH, FlashAttnFacts, TorchFacts
from doctor.probes.system import IDENTITY
from doctor.probes.winget import WINGET

OLDEST = (11, 7)  # flash-attn's setup.py rejects older versions


def judge(
    cuda: CudaFacts,
    identity: Identity,
    winget: Reading[str],
    nvidia: NvidiaFacts,
    torch: TorchFacts,
    flash_attn: FlashAttnFacts,
) -> Finding:
    usable = [(t.path, t.nvcc.value) for t in cuda.toolkits if isinstance(t.nvcc, Found)]
    listed = "; ".join(f"CUDA {dotted(version)} in {path}" for path, version in usable)
    finding = Finding(
        check=CHECK.id,
        status="ok",
        summary=listed,
        measured=listed or "no nvcc",
        expected=f"a toolkit of version {dotted(OLDEST)} or newer, for building from source",
        evidence=tuple(
            Evidence(source="program", name=f"nvcc in {path}", value=dotted(version))
            for path, version in usable
        ),
    )
    recent = [version for _, version in usable if version >= OLDEST]
    if any(why_not_for_gpu(version, nvidia) is None for version in recent):
        return finding
    unreadable = [f"{t.path}: {t.nvcc.reason}" for t in cuda.toolkits if isinstance(t.nvcc, Unreadable)]
    if not usable and (unreadable or cuda.unreadable):
        return could_not_look(CHECK.id, "the CUDA toolkit", "; ".join((*unreadable, *cuda.unreadable)))
    this = torch_is(torch)
    problem = finding.but(
        status="info",
        impact=CHECK.why,
        hint=CHECK.by_hand,
        links=(build_tool_fixes.CUDA_DOWNLOADS,),
        fix=build_tool_fixes.install_cuda_toolkit(identity, winget, this.cuda_version if this else None),
    )
    if not cuda.toolkits:
        return problem.but(summary="No CUDA toolkit, which is only needed to build packages from source")
    summary = _why_unusable(cuda, recent, nvidia)
    return with_build_severity(problem.but(summary=summary), nvidia, torch, flash_attn)


def _why_unusable(cuda: CudaFacts, recent: list[tuple[int, int]], nvidia: NvidiaFacts) -> str:
    """Return why no installed toolkit can build. `recent`: the versions that flash-attn's setup.py accepts."""
    if recent and (reason := why_not_for_gpu(max(recent), nvidia)):
        return reason
    if cuda.versions:
        return f"CUDA toolkit {dotted(max(cuda.versions))} is too old to build flash-attn"
    return f"No nvcc in {', '.join(toolkit.path for toolkit in cuda.toolkits)}"


CHECK = Check(
    id="cuda-toolkit",
    group="build-tools",
    looks_at="nvcc in CUDA_HOME, CUDA_PATH, CUDA_PATH_V*, PATH, the registry and the default install folders, and whether one of them can compile for the GPU.",
    why="Building flash-attn or xformers from source needs nvcc. Prebuilt packages, and PyTorch itself, do not.",
    by_hand="Install a prebuilt package, which is much quicker. Or install the CUDA toolkit of your PyTorch build's version, without the driver it contains.",
    probes=(CUDA, IDENTITY, WINGET, NVIDIA, TORCH, FLASH_ATTN),
    judge=judge,
    requires=(NVIDIA_GPU,),
)
