"""Which NVIDIA GPUs can programs use?"""

from __future__ import annotations

from doctor.check import Check
from doctor.checks.gpu import nvidia_driver
from doctor.checks.shared import could_not_look, dotted, skipped
from doctor.checks.system.variable_fixes import set_in_terminal
from doctor.host import Absent, Found, Gpu, Identity
from doctor.models import Evidence, Finding, Fix, JsonValue
from doctor.probes.nvidia import NVIDIA, NvidiaFacts
from doctor.probes.system import IDENTITY

GIBIBYTE = 1024**3
DEVICE_MANAGER_CODES = "https://support.microsoft.com/topic/error-codes-in-device-manager-in-windows-524e9e89-4dee-8883-0afa-6bca0456324e"
WSL = "https://docs.nvidia.com/cuda/wsl-user-guide/"


def judge(nvidia: NvidiaFacts, identity: Identity) -> Finding:
    if not isinstance(nvidia.driver, Found):
        if isinstance(nvidia.driver, Absent) and not nvidia.adapters:
            return _none(identity)
        if isinstance(nvidia.driver, Absent) or nvidia.complaint:
            return skipped(CHECK.id, "the NVIDIA driver does not work (see nvidia-driver)")
        return could_not_look(CHECK.id, "the GPUs", nvidia.driver.reason)
    names: JsonValue = [gpu.name for gpu in nvidia.reported]
    evidence = (
        Evidence(source=nvidia.evidence_source, name="GPUs", value=names),
        Evidence(source="environment", name="CUDA_VISIBLE_DEVICES", value=nvidia.visible_devices),
    )
    finding = Finding(
        check=CHECK.id,
        status="ok",
        summary="; ".join(map(_describe, nvidia.visible)),
        measured=f"{len(nvidia.visible)} GPU(s) of {len(nvidia.reported)}",
        expected="at least one NVIDIA GPU",
        impact=CHECK.why,
        evidence=evidence,
    )
    if not nvidia.reported:
        return _sees_none(finding, nvidia)
    if not nvidia.visible:
        return finding.but(
            status="warning",
            summary=f"CUDA_VISIBLE_DEVICES={nvidia.visible_devices} hides every GPU from PyTorch",
            measured=f"CUDA_VISIBLE_DEVICES is {nvidia.visible_devices!r}",
            expected=f"not set, or the numbers of GPUs: 0 to {len(nvidia.reported) - 1}",
            hint="Remove the variable CUDA_VISIBLE_DEVICES and open a new terminal.",
            fix=Fix(
                id="show-gpus",
                applicability="manual",  # somebody set it, and only they know where and what for
                restart="shell",
                commands=set_in_terminal("CUDA_VISIBLE_DEVICES")
                if identity.os == "windows"
                else ("unset CUDA_VISIBLE_DEVICES",),
            ),
        )
    capabilities = {gpu.compute_capability for gpu in nvidia.visible}
    if len(capabilities) > 1:
        text = " and ".join(map(dotted, sorted(capabilities)))
        return finding.but(
            status="info",
            summary=f"{finding.summary}: of different generations ({text})",
            impact="Training takes the first; a build with code for it need not have code for the others.",
            hint="To train on another, set CUDA_DEVICE_ORDER=PCI_BUS_ID and CUDA_VISIBLE_DEVICES to its number.",
        )
    return finding


def _describe(gpu: Gpu) -> str:
    memory = f", {gpu.total_memory_bytes / GIBIBYTE:.0f} GiB" if gpu.total_memory_bytes else ""
    return gpu.name + memory


def _none(identity: Identity) -> Finding:
    finding = Finding(
        check=CHECK.id,
        status="info",
        summary="No NVIDIA GPU: training uses the processor",
        measured="no NVIDIA driver, and no NVIDIA display adapter",
        impact="Everything works, much more slowly than on a GPU.",
    )
    if not identity.wsl:
        return finding
    hint = "If Windows has an NVIDIA GPU, install its driver in Windows, never inside WSL; then run `wsl --update`."
    return finding.but(hint=hint, links=(WSL,))


def _sees_none(finding: Finding, nvidia: NvidiaFacts) -> Finding:
    update = {
        "status": "error",
        "summary": "The NVIDIA driver is installed but sees no GPU",
        "hint": "Look into Device Manager (Windows) or `lspci` (Linux): is the GPU there, switched on and free of errors? 'Code 43' there asks for a new installation of the driver; a laptop may have switched its GPU off to save power.",
        "links": (DEVICE_MANAGER_CODES,),
    }
    if nvidia.disabled:
        update |= {
            "summary": f"{nvidia.disabled[0]} is disabled in Device Manager",
            "hint": "Enable it: Device Manager > Display adapters > right click > Enable device.",
        }
    return finding.model_copy(update=update)


CHECK = Check(
    id="gpu",
    group="gpu",
    looks_at="The GPUs that the NVIDIA driver reports, and whether CUDA_VISIBLE_DEVICES hides them.",
    why="Training runs on the GPU only if the driver shows one to PyTorch.",
    by_hand="Seat the card, switch it on in the firmware or in Device Manager, and remove CUDA_VISIBLE_DEVICES.",
    probes=(NVIDIA, IDENTITY),
    judge=judge,
    because_of=(nvidia_driver.CHECK,),
)
