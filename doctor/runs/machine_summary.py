"""The machine in the head of a report: system, Python, GPU, driver and torch, from the facts of a diagnosis."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from doctor.host import Absent, Found, Gpu, Identity
from doctor.models import Machine
from doctor.probes.nvidia import NVIDIA, NvidiaFacts
from doctor.probes.packages import TORCH, TorchFacts

GIBIBYTE = 1 << 30


def machine_of(identity: Identity, facts: Mapping[str, Any], recorded: bool) -> Machine:
    """Return the machine of a report. What no probe has looked at is null."""
    nvidia, torch = facts.get(NVIDIA.name), facts.get(TORCH.name)
    return Machine(
        os=identity.os,
        os_build=identity.os_build,
        architecture=identity.architecture,
        elevated=identity.elevated,
        python=identity.python,
        recorded=recorded,
        environment=identity.executable if identity.other_python else None,
        **(_gpu_fields(nvidia) if isinstance(nvidia, NvidiaFacts) else {}),
        torch=_torch(torch) if isinstance(torch, TorchFacts) else None,
    )


def _gpu_fields(nvidia: NvidiaFacts) -> dict[str, Any]:
    if not isinstance(nvidia.driver, Found):
        return {"gpus": () if nvidia.has_gpu is False else None}
    driver = nvidia.driver.value
    cuda = driver.cuda_version
    return {
        "gpus": tuple(_described(gpu) for gpu in nvidia.gpus),
        "driver": driver.driver_version,
        "driver_cuda": f"{cuda[0]}.{cuda[1]}" if cuda else None,
    }


def _described(gpu: Gpu) -> str:
    return f"{gpu.name}, {gpu.total_memory_bytes / GIBIBYTE:.0f} GiB"


def _torch(facts: TorchFacts) -> str | None:
    """The version with its build, such as 2.13.0+cu130; the metadata's if torch/version.py cannot be read."""
    if isinstance(facts.build, Found):
        return str(facts.build.value.version)
    if isinstance(facts.distribution, Found):
        return facts.distribution.value.version
    return "" if isinstance(facts.distribution, Absent) else None
