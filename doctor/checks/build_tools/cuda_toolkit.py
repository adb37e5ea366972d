"""Is a CUDA toolkit (nvcc) installed, for building packages from source?"""

from __future__ import annotations

from doctor.check import Check
from doctor.checks.build_tools import build_tool_fixes
from doctor.checks.build_tools.build_relevance import as_needed
from doctor.checks.shared import could_not_look, dotted, skipped_without_nvidia
from doctor.host import Found, Identity, Reading, Unreadable
from doctor.models import Evidence, Finding
from doctor.probes.cuda import CUDA, CudaFacts
from doctor.probes.nvidia import NVIDIA, NvidiaFacts
from doctor.probes.packages import FLASH_ATTN, TORCH, FlashAttnFacts, TorchFacts
from doctor.probes.system import IDENTITY
from doctor.probes.winget import WINGET

OLDEST = (11, 7)  # flash-attn's setup.py refuses older ones


def judge(
    cuda: CudaFacts,
    identity: Identity,
    winget: Reading[str],
    nvidia: NvidiaFacts,
    torch: TorchFacts,
    flash_attn: FlashAttnFacts,
) -> Finding:
    if without := skipped_without_nvidia(CHECK.id, nvidia):
        return without
    usable = [(t.path, t.nvcc.value) for t in cuda.toolkits if isinstance(t.nvcc, Found)]
    unreadable = [f"{t.path}: {t.nvcc.reason}" for t in cuda.toolkits if isinstance(t.nvcc, Unreadable)]
    unreadable += cuda.unreadable
    listed = "; ".join(f"CUDA {dotted(version)} in {path}" for path, version in usable)
    built_with = torch.build.value.cuda_version if isinstance(torch.build, Found) else None
    finding = Finding(
        check=CHECK.id,
        status="ok",
        summary=listed,
        measured=listed,
        expected=f"a toolkit from {dotted(OLDEST)} on, for building from source",
        evidence=tuple(
            Evidence(source="program", name=f"nvcc in {path}", value=dotted(version))
            for path, version in usable
        ),
    )
    trouble = finding.but(
        status="info",
        measured=listed or "no nvcc",
        impact=CHECK.why,
        hint=CHECK.by_hand,
        links=(build_tool_fixes.CUDA_DOWNLOADS,),
        fix=build_tool_fixes.cuda_toolkit(identity, winget, built_with),
    )
    if usable:
        newest = max(version for _, version in usable)
        if newest >= OLDEST:
            return finding
        summary = f"The CUDA toolkit {dotted(newest)} is too old to build flash-attn"
        return as_needed(trouble.but(summary=summary), nvidia, torch, flash_attn)
    if unreadable:
        return could_not_look(CHECK.id, "the CUDA toolkit", "; ".join(unreadable))
    if cuda.toolkits:
        folders = ", ".join(toolkit.path for toolkit in cuda.toolkits)
        summary = f"No nvcc where a CUDA toolkit should be: {folders}"
        return as_needed(trouble.but(summary=summary), nvidia, torch, flash_attn)
    summary = "No CUDA toolkit, and none is needed: only building packages from source takes one"
    return trouble.but(summary=summary)


CHECK = Check(
    id="cuda-toolkit",
    group="build-tools",
    looks_at="nvcc in CUDA_HOME, CUDA_PATH, CUDA_PATH_V*, PATH, the registry and the folders that installers use.",
    why="Building flash-attn or xformers from source needs nvcc. Prebuilt packages, and PyTorch itself, do not.",
    by_hand="Install the CUDA toolkit of the same version as your PyTorch build, without the driver inside it - or, much quicker, a prebuilt package.",
    probes=(CUDA, IDENTITY, WINGET, NVIDIA, TORCH, FLASH_ATTN),
    judge=judge,
)
