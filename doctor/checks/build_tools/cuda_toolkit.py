"""Is a CUDA toolkit (nvcc) installed, for building packages from source?"""

from __future__ import annotations

from doctor.check import Check
from doctor.checks.shared import could_not_look, skipped_without_nvidia
from doctor.host import Found, Unreadable
from doctor.models import Evidence, Finding
from doctor.probes.cuda import PROBE, CudaFacts
from doctor.probes.nvidia import PROBE as NVIDIA
from doctor.probes.nvidia import NvidiaFacts

OLDEST = (11, 7)  # flash-attn's setup.py refuses older ones
DOWNLOADS = "https://developer.nvidia.com/cuda-toolkit-archive"


def judge(cuda: CudaFacts, nvidia: NvidiaFacts) -> Finding:
    if without := skipped_without_nvidia(CHECK.id, nvidia):
        return without
    usable = [(t.path, t.nvcc.value) for t in cuda.toolkits if isinstance(t.nvcc, Found)]
    unreadable = [f"{t.path}: {t.nvcc.reason}" for t in cuda.toolkits if isinstance(t.nvcc, Unreadable)]
    unreadable += cuda.unreadable
    listed = [f"CUDA {major}.{minor} in {path}" for path, (major, minor) in usable]
    evidence = tuple(
        Evidence(source="program", name=f"nvcc in {path}", value=f"{major}.{minor}")
        for path, (major, minor) in usable
    )
    if usable:
        newest = max(version for _, version in usable)
        finding = Finding(
            check=CHECK.id,
            status="ok",
            summary="; ".join(listed),
            measured="; ".join(listed),
            expected="any toolkit from 11.7 on, for building from source",
            evidence=evidence,
        )
        if newest < OLDEST:
            return finding.model_copy(
                update={
                    "status": "warning",
                    "summary": f"The CUDA toolkit {newest[0]}.{newest[1]} is too old to build flash-attn",
                    "impact": CHECK.why,
                    "hint": CHECK.by_hand,
                    "links": (DOWNLOADS,),
                }
            )
        return finding
    if unreadable:
        return could_not_look(CHECK.id, "the CUDA toolkit", "; ".join(unreadable))
    if cuda.toolkits:
        folders = ", ".join(toolkit.path for toolkit in cuda.toolkits)
        return Finding(
            check=CHECK.id,
            status="warning",
            summary=f"No nvcc where a CUDA toolkit should be: {folders}",
            measured="no nvcc",
            expected="bin/nvcc in the toolkit's folder",
            impact=CHECK.why,
            hint=CHECK.by_hand,
            links=(DOWNLOADS,),
        )
    return Finding(
        check=CHECK.id,
        status="info",
        summary="No CUDA toolkit, and none is needed: only building packages from source takes one",
        measured="no nvcc",
        links=(DOWNLOADS,),
    )


CHECK = Check(
    id="cuda-toolkit",
    group="build-tools",
    looks_at="nvcc in CUDA_HOME, CUDA_PATH, CUDA_PATH_V*, PATH, the registry and the folders that installers use.",
    why="Building flash-attn or xformers from source needs nvcc. Prebuilt packages, and PyTorch itself, do not.",
    by_hand="Install the CUDA toolkit of the same major version as your PyTorch build - or, much quicker, a prebuilt package.",
    probes=(PROBE, NVIDIA),
    judge=judge,
)
