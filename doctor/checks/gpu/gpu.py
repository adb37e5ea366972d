"""Which NVIDIA GPUs can programs use?"""

from __future__ import annotations

from doctor.check import Check, Requirement
from doctor.checks.gpu import nvidia_driver
from doctor.checks.shared import could_not_look, dotted, skipped
from doctor.checks.system.variable_fixes import set_in_terminal
from doctor.host import Absent, Found, Gpu, Identity
from doctor.models import Evidence, Finding, Fix
from doctor.probes.nvidia import NVIDIA, NvidiaFacts
from doctor.probes.nvidia_smi import NO_CAPABILITY
from doctor.probes.packages import TORCH, TorchFacts
from doctor.probes.system import IDENTITY

GIBIBYTE = 1024**3
OTHER_MAKES = {"rocm": "AMD", "xpu": "Intel"}  # by the label in torch's version
DEVICE_MANAGER_CODES = "https://support.microsoft.com/topic/error-codes-in-device-manager-in-windows-524e9e89-4dee-8883-0afa-6bca0456324e"
WSL = "https://docs.nvidia.com/cuda/wsl-user-guide/"


def judge(nvidia: NvidiaFacts, identity: Identity, torch: TorchFacts) -> Finding:
    if isinstance(nvidia.driver, Absent):
        return _no_gpu(identity, torch)
    finding = Finding(
        check=CHECK.id,
        status="ok",
        summary="; ".join(map(_describe, nvidia.visible)),
        measured=f"{len(nvidia.visible)} GPU(s) of {len(nvidia.reported)}",
        expected="at least one NVIDIA GPU",
        impact=CHECK.why,
        evidence=(
            Evidence(source=nvidia.evidence_source, name="GPUs", value=[gpu.name for gpu in nvidia.reported]),
            Evidence(source="environment", name="CUDA_VISIBLE_DEVICES", value=nvidia.visible_devices),
            *(
                Evidence(source=nvidia.evidence_source, name="complaint", value=line)
                for line in nvidia.complaints
            ),
        ),
    )
    if not nvidia.reported:
        return _driver_sees_none(finding, nvidia)
    if not nvidia.visible:
        return _all_hidden(finding, nvidia, identity)
    if nvidia.complaints:
        return _complaints(finding, nvidia)
    capabilities = {gpu.compute_capability for gpu in nvidia.visible}
    if len(capabilities) > 1:
        text = " and ".join(map(dotted, sorted(capabilities)))
        return finding.but(
            status="info",
            summary=f"{finding.summary}: of different generations ({text})",
            impact="Training uses the first GPU. A build with code for it may have none for the others.",
            hint="To train on another GPU, set CUDA_DEVICE_ORDER=PCI_BUS_ID and CUDA_VISIBLE_DEVICES to its number.",
        )
    return finding


def _complaints(finding: Finding, nvidia: NvidiaFacts) -> Finding:
    """Some GPUs work; the driver also reports an error, mostly about another one."""
    lost = [line for line in nvidia.complaints if nvidia_driver.LOST.search(line)]
    if not lost:
        return finding.but(
            status="info", summary=f"{finding.summary}; the driver reports: {nvidia.complaints[0]}"
        )
    return finding.but(
        status="warning",
        summary=f"A GPU does not answer: {lost[0]}",
        impact="The other GPUs may still work. On some machines no new CUDA program starts until the lost GPU is back or removed.",
        hint=nvidia_driver.REVIVE_GPU,
    )


def _describe(gpu: Gpu) -> str:
    memory = f", {gpu.total_memory_bytes / GIBIBYTE:.0f} GiB" if gpu.total_memory_bytes else ""
    return gpu.name + memory


def _no_gpu(identity: Identity, torch: TorchFacts) -> Finding:
    build = torch.build.value if isinstance(torch.build, Found) else None
    label = (build.version.local or "") if build else ""
    make = next((make for prefix, make in OTHER_MAKES.items() if label.startswith(prefix)), None)
    use = f"{build} uses {make} GPUs" if make else "training uses the CPU"
    finding = Finding(
        check=CHECK.id,
        status="info",
        summary=f"No NVIDIA GPU: {use}",
        measured="no NVIDIA driver, and no NVIDIA display adapter",
        impact="" if make else "Everything works, but much more slowly than on a GPU.",
    )
    if not identity.wsl:
        return finding
    hint = "If Windows has an NVIDIA GPU, install its driver in Windows, never inside WSL; then run `wsl --update`."
    return finding.but(hint=hint, links=(WSL,))


def _driver_sees_none(finding: Finding, nvidia: NvidiaFacts) -> Finding:
    if NO_CAPABILITY in nvidia.complaints:
        hint = "Update the NVIDIA driver, and remove an older nvidia-smi that comes first on PATH."
        return could_not_look(CHECK.id, "the GPUs", NO_CAPABILITY, hint)
    problem = finding.but(status="error", links=(DEVICE_MANAGER_CODES,))
    if nvidia.disabled:
        return problem.but(
            summary=f"{nvidia.disabled[0]} is disabled in Device Manager",
            hint="Enable it: Device Manager > Display adapters > right click > Enable device.",
        )
    reason = f": {nvidia.complaints[0]}" if nvidia.complaints else ""
    return problem.but(
        summary=f"The NVIDIA driver is installed but sees no GPU{reason}",
        hint="Check in Device Manager (Windows) or with `lspci` (Linux) that the GPU is listed, enabled and free of errors. 'Code 43' means that the driver must be reinstalled. A laptop may have switched its GPU off to save power.",
    )


def _all_hidden(finding: Finding, nvidia: NvidiaFacts, identity: Identity) -> Finding:
    on_windows = identity.os == "windows"
    commands = set_in_terminal("CUDA_VISIBLE_DEVICES") if on_windows else ("unset CUDA_VISIBLE_DEVICES",)
    return finding.but(
        status="warning",
        summary=f"CUDA_VISIBLE_DEVICES={nvidia.visible_devices} hides every GPU from PyTorch",
        measured=f"CUDA_VISIBLE_DEVICES is {nvidia.visible_devices!r}",
        expected=f"not set, or the numbers of GPUs: 0 to {len(nvidia.reported) - 1}",
        hint="Remove the variable CUDA_VISIBLE_DEVICES and open a new terminal.",
        # Manual: only its owner knows where the variable is set, and why
        fix=Fix(id="show-gpus", applicability="manual", restart="shell", commands=commands),
    )


def _broken_driver(check: str, nvidia: NvidiaFacts) -> Finding | None:
    if isinstance(nvidia.driver, Found) or (isinstance(nvidia.driver, Absent) and not nvidia.adapters):
        return None
    if isinstance(nvidia.driver, Absent) or nvidia.complaint:
        return skipped(check, "the NVIDIA driver does not work (see nvidia-driver)")
    return could_not_look(check, "the GPUs", nvidia.driver.reason)


CHECK = Check(
    id="gpu",
    group="gpu",
    looks_at="The GPUs reported by the NVIDIA driver, and whether CUDA_VISIBLE_DEVICES hides them.",
    why="Training runs on a GPU only if the driver makes one visible to PyTorch.",
    by_hand="Check that the card is seated, enable it in the firmware or Device Manager, and remove CUDA_VISIBLE_DEVICES.",
    probes=(NVIDIA, IDENTITY, TORCH),
    judge=judge,
    requires=(Requirement((NVIDIA,), _broken_driver),),
    because_of=(nvidia_driver.CHECK,),
)
