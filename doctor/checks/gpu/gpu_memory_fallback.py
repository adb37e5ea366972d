"""May the driver put GPU memory that does not fit into the computer's memory, without a word?"""

from __future__ import annotations

from doctor.check import Check
from doctor.checks.gpu import nvidia_driver
from doctor.checks.shared import could_not_look, skipped, skipped_without_nvidia
from doctor.host import Absent, Found
from doctor.models import Evidence, Finding
from doctor.probes.nvidia import NVIDIA, NvidiaFacts
from wheels.compatibility import falls_back_to_system_memory

LINK = "https://nvidia.custhelp.com/app/answers/detail/a_id/5490"


def judge(nvidia: NvidiaFacts) -> Finding:
    if without := skipped_without_nvidia(CHECK.id, nvidia):
        return without
    if isinstance(nvidia.driver, Absent):
        return skipped(CHECK.id, "the NVIDIA driver is missing (see nvidia-driver)")
    if not isinstance(nvidia.driver, Found):
        return could_not_look(CHECK.id, "the NVIDIA driver", nvidia.driver.reason)
    version = nvidia.driver.value.driver_version
    models = sorted({gpu.driver_model or "unknown" for gpu in nvidia.reported})
    finding = Finding(
        check=CHECK.id,
        status="ok",
        summary="GPU memory that runs out is an error here, as programs expect",
        measured=f"driver {version}, driver model {', '.join(models) or 'unknown'}",
        expected="known to you: where GPU memory runs out, training slows down instead of failing",
        evidence=(
            Evidence(source=nvidia.evidence_source, name="driver version", value=version),
            Evidence(source=nvidia.evidence_source, name="driver model", value=models),
        ),
    )
    if "WDDM" not in models or not falls_back_to_system_memory(version):
        return finding
    return finding.but(
        status="info",
        summary="When GPU memory runs out, this driver goes on in the computer's memory, many times slower",
        impact=CHECK.why,
        hint=CHECK.by_hand,
        links=(LINK,),
    )


CHECK = Check(
    id="gpu-memory-fallback",
    group="gpu",
    looks_at="The driver's version and model: under WDDM, drivers from 536.40 on lend programs the computer's memory. The setting itself can be read by NVIDIA's tools alone.",
    why="Training that needs a little too much memory does not fail, but becomes 5 to 20 times slower, and nothing says so.",
    by_hand="With a driver from 546.01 on: NVIDIA Control Panel > Manage 3D settings > Program Settings > add python.exe > 'CUDA - Sysmem Fallback Policy' > 'Prefer No Sysmem Fallback'. Or train with a smaller batch.",
    probes=(NVIDIA,),
    judge=judge,
    systems=frozenset({"windows"}),
    because_of=(nvidia_driver.CHECK,),
)
