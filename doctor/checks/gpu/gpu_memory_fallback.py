"""Does the driver silently fall back to system memory when GPU memory runs out?"""

from __future__ import annotations

from doctor.check import Check
from doctor.checks.gpu import nvidia_driver
from doctor.checks.requires import NVIDIA_DRIVER, NVIDIA_GPU
from doctor.checks.shared import value_of
from doctor.models import Evidence, Finding
from doctor.probes.nvidia import NVIDIA, NvidiaFacts
from wheels.compatibility import falls_back_to_system_memory

LINK = "https://nvidia.custhelp.com/app/answers/detail/a_id/5490"


def judge(nvidia: NvidiaFacts) -> Finding:
    version = value_of(nvidia.driver).driver_version
    models = sorted({gpu.driver_model or "unknown" for gpu in nvidia.reported})
    finding = Finding(
        check=CHECK.id,
        status="ok",
        summary="Running out of GPU memory is an error here, as programs expect",
        measured=f"driver {version}, driver model {', '.join(models) or 'unknown'}",
        expected="an error when GPU memory runs out, or awareness that training slows down instead",
        evidence=(
            Evidence(source=nvidia.evidence_source, name="driver version", value=version),
            Evidence(source=nvidia.evidence_source, name="driver model", value=models),
        ),
    )
    if "WDDM" not in models or not falls_back_to_system_memory(version):
        return finding
    return finding.but(
        status="info",
        summary="When GPU memory runs out, this driver falls back to system memory, which is many times slower",
        impact=CHECK.why,
        hint=CHECK.by_hand,
        links=(LINK,),
    )


CHECK = Check(
    id="gpu-memory-fallback",
    group="gpu",
    looks_at="The driver's version and model: under WDDM, drivers from 536.40 on fall back to system memory. Only NVIDIA's own tools can read the setting.",
    why="Training that needs slightly too much memory does not fail, but becomes 5 to 20 times slower without any message.",
    by_hand="With a driver from 546.01 on: NVIDIA Control Panel > Manage 3D settings > Program Settings > add python.exe > 'CUDA - Sysmem Fallback Policy' > 'Prefer No Sysmem Fallback'. Or train with a smaller batch.",
    probes=(NVIDIA,),
    judge=judge,
    requires=(NVIDIA_GPU, NVIDIA_DRIVER),
    systems=frozenset({"windows"}),
    because_of=(nvidia_driver.CHECK,),
)
