"""Which attention kernels can the first GPU run?"""

from __future__ import annotations

from doctor.check import Check, Requirement
from doctor.checks.gpu import nvidia_driver
from doctor.checks.gpu.nvidia_driver import OLDEST_GPU
from doctor.checks.requires import NVIDIA_GPU
from doctor.checks.shared import could_not_look, dotted, skipped
from doctor.host import Absent, Unreadable
from doctor.models import Evidence, Finding
from doctor.probes.nvidia import NVIDIA, NvidiaFacts
from wheels.flash_attn_builds import flash_attn_minimum_capability

OLDEST_FOR_CUDA_13 = (7, 5)


def judge(nvidia: NvidiaFacts) -> Finding:
    first = nvidia.gpus[0]
    capability = first.compute_capability
    flash_attn = flash_attn_minimum_capability()
    finding = Finding(
        check=CHECK.id,
        status="ok",
        summary=f"Compute capability {dotted(capability)}: every attention backend can run",
        measured=f"{first.name}: {dotted(capability)}",
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
        return finding.but(
            status="error",
            summary=f"{first.name} (compute capability {dotted(capability)}) is too old for PyTorch's builds",
            expected=f"{dotted(OLDEST_GPU)} or higher",
            impact=CHECK.why,
            hint="Train on the CPU (--device cpu), or use a newer GPU.",
        )
    if capability < flash_attn:
        summary = f"Compute capability {dotted(capability)}: no flash-attn, but xformers and SDPA can run"
        if capability < OLDEST_FOR_CUDA_13:
            summary += ", and only with PyTorch builds for CUDA 12.6 (cu126)"
        return finding.but(status="info", summary=summary, impact=CHECK.why)
    return finding


def _no_visible_gpu(check: str, nvidia: NvidiaFacts) -> Finding | None:
    if isinstance(nvidia.driver, Absent) or nvidia.complaint:
        return skipped(check, "the NVIDIA driver does not work (see nvidia-driver)")
    if isinstance(nvidia.driver, Unreadable):
        return could_not_look(check, "the GPUs", nvidia.driver.reason)
    return None if nvidia.gpus else skipped(check, "the NVIDIA driver sees no GPU (see gpu)")


CHECK = Check(
    id="compute-capability",
    group="gpu",
    looks_at="The compute capability of each GPU that CUDA_VISIBLE_DEVICES leaves visible. The first decides, because training uses it.",
    why="Kernels are compiled for specific GPU generations: flash-attn needs 8.0 (Ampere), and CUDA 13 builds of PyTorch need 7.5 (Turing).",
    by_hand="Nothing to fix: this is a property of the GPU. Choose builds that support it.",
    probes=(NVIDIA,),
    judge=judge,
    requires=(NVIDIA_GPU, Requirement((NVIDIA,), _no_visible_gpu)),
    # Not of `gpu`: one lost GPU among several explains no failure of a package
    because_of=(nvidia_driver.CHECK,),
)
