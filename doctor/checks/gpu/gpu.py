"""Which NVIDIA GPUs can programs use?"""

from __future__ import annotations

from doctor.check import Check
from doctor.checks.shared import could_not_look, skipped
from doctor.host import Absent, Found, Gpu
from doctor.models import Evidence, Finding, JsonValue
from doctor.probes.nvidia import PROBE, NvidiaFacts

GIBIBYTE = 1024**3


def _describe(gpu: Gpu) -> str:
    memory = f", {gpu.total_memory_bytes / GIBIBYTE:.0f} GiB" if gpu.total_memory_bytes else ""
    return gpu.name + memory


def judge(nvidia: NvidiaFacts) -> Finding:
    if not isinstance(nvidia.driver, Found):
        if isinstance(nvidia.driver, Absent) and not nvidia.adapters:
            return Finding(
                check=CHECK.id,
                status="info",
                summary="No NVIDIA GPU: training uses the processor",
                measured="no NVIDIA driver, and no NVIDIA display adapter",
                impact="Everything works, much more slowly than on a GPU.",
            )
        if isinstance(nvidia.driver, Absent) or nvidia.complaint:
            return skipped(CHECK.id, "the NVIDIA driver does not work (see nvidia-driver)")
        return could_not_look(CHECK.id, "the GPUs", nvidia.driver.reason)
    names: JsonValue = [gpu.name for gpu in nvidia.gpus]
    finding = Finding(
        check=CHECK.id,
        status="ok",
        summary="; ".join(map(_describe, nvidia.gpus)),
        measured=f"{len(nvidia.gpus)} GPU(s)",
        expected="at least one NVIDIA GPU",
        impact=CHECK.why,
        evidence=(
            Evidence(source="nvml" if nvidia.source == "nvml" else "program", name="GPUs", value=names),
            Evidence(source="environment", name="CUDA_VISIBLE_DEVICES", value=nvidia.visible_devices),
        ),
    )
    if not nvidia.gpus:
        return finding.model_copy(
            update={
                "status": "error",
                "summary": "The NVIDIA driver is installed but sees no GPU",
                "hint": "Look into Device Manager (Windows) or `lspci` (Linux): is the GPU there, switched on and free of errors?",
            }
        )
    if nvidia.visible_devices is not None and nvidia.visible_devices.strip() in ("", "-1"):
        return finding.model_copy(
            update={
                "status": "warning",
                "summary": f"CUDA_VISIBLE_DEVICES={nvidia.visible_devices} hides every GPU from PyTorch",
                "measured": f"CUDA_VISIBLE_DEVICES is {nvidia.visible_devices!r}",
                "expected": "not set, or the number of a GPU",
                "hint": "Remove the variable CUDA_VISIBLE_DEVICES and open a new terminal.",
            }
        )
    return finding


CHECK = Check(
    id="gpu",
    group="gpu",
    looks_at="The GPUs that the NVIDIA driver reports, and whether CUDA_VISIBLE_DEVICES hides them.",
    why="Training runs on the GPU only if the driver shows one to PyTorch.",
    by_hand="Seat the card, switch it on in the firmware or in Device Manager, and remove CUDA_VISIBLE_DEVICES.",
    probes=(PROBE,),
    judge=judge,
)
