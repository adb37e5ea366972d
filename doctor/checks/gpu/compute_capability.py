"""Which attention kernels can these GPUs run?"""

from __future__ import annotations

from doctor.check import Check
from doctor.checks.gpu import gpu as gpu_check
from doctor.checks.gpu.nvidia_driver import OLDEST_GPU
from doctor.checks.shared import could_not_look, dotted, skipped, skipped_without_nvidia
from doctor.host import Absent, Found
from doctor.models import Evidence, Finding
from doctor.probes.nvidia import NVIDIA, NvidiaFacts
from wheels.compatibility import flash_attn_minimum_capability

OLDEST_FOR_CUDA_13 = (7, 5)


def judge(nvidia: NvidiaFacts) -> Finding:
    if without := skipped_without_nvidia(CHECK.id, nvidia):
        return without
    if isinstance(nvidia.driver, Absent) or nvidia.complaint:
        return skipped(CHECK.id, "the NVIDIA driver does not work (see nvidia-driver)")
    if not isinstance(nvidia.driver, Found):
        return could_not_look(CHECK.id, "the GPUs", nvidia.driver.reason)
    if not nvidia.gpus:
        return skipped(CHECK.id, "the NVIDIA driver sees no GPU (see gpu)")
    first = nvidia.gpus[0]
    capability = first.compute_capability
    measured = f"{first.name}: {dotted(capability)}"
    flash_attn = flash_attn_minimum_capability()
    finding = Finding(
        check=CHECK.id,
        status="ok",
        summary=f"Compute capability {dotted(capability)}: every attention backend can run",
        measured=measured,
        expected=f"{dotted(flash_attn)} or higher for flash-attn",
        evidence=tuple(
            Evidence(
                source=nvidia.evidence_source,
                name=f"compute capability of {gpu.name}",
                value=dotted(gpu.compute_capability),
            )
            for gpu in nvidia.gpus
        ),
    )
    if capability < OLDEST_GPU:
        summary = f"{first.name} (compute capability {dotted(capability)}) is too old for PyTorch's builds"
        update = {
            "status": "error",
            "summary": summary,
            "expected": f"{dotted(OLDEST_GPU)} or higher",
            "impact": CHECK.why,
            "hint": "Train on the processor (--device cpu), or use a newer GPU.",
        }
        return finding.model_copy(update=update)
    if capability < flash_attn:
        only = "" if capability >= OLDEST_FOR_CUDA_13 else ", and only PyTorch builds for CUDA 12.6 (cu126)"
        summary = f"Compute capability {dotted(capability)}: no flash-attn; xformers and SDPA serve{only}"
        return finding.but(status="info", summary=summary, impact=CHECK.why)
    return finding


CHECK = Check(
    id="compute-capability",
    group="gpu",
    looks_at="The compute capability of each GPU that CUDA_VISIBLE_DEVICES leaves to programs; the first decides, which training takes.",
    why="Kernels are compiled for certain GPU generations: flash-attn needs 8.0 (Ampere), CUDA 13 builds of PyTorch need 7.5 (Turing).",
    by_hand="Nothing to repair: it is a property of the GPU. Choose builds that fit it.",
    probes=(NVIDIA,),
    judge=judge,
    because_of=(gpu_check.CHECK,),
)
