"""Is an NVIDIA driver installed and working, and is it new enough for CUDA 12?"""

from __future__ import annotations

import re

from doctor.check import Check
from doctor.checks.shared import NVIDIA_DRIVERS, could_not_look, skipped
from doctor.host import Absent, Found, Identity
from doctor.models import Evidence, Finding
from doctor.probes.nvidia import NVIDIA, NvidiaFacts
from doctor.probes.system import IDENTITY
from wheels.compatibility import driver_supports, minimum_driver

OLDEST_CUDA, NEWEST_CUDA = 12, 13
WSL_GUIDE = "https://docs.nvidia.com/cuda/wsl-user-guide/"
IN_WINDOWS = (
    "Install or update the driver in Windows, never inside WSL; then run `wsl --shutdown` in Windows."
)
# What NVML and nvidia-smi say about a GPU that is installed but does not respond
LOST = re.compile(
    r"determine the device handle|GPU_IS_LOST|GPU is lost|fallen off the bus|\[Unknown Error\]", re.I
)
REVIVE_GPU = "Restart the machine. If the GPU is lost again, reseat the card and check its power cable."
OLDEST_GPU = (5, 0)  # for cu126, the PyTorch build with the widest support, and for CUDA 12 drivers


def judge(nvidia: NvidiaFacts, identity: Identity) -> Finding:
    if isinstance(nvidia.driver, Found):
        return _judge_version(nvidia, nvidia.driver.value.driver_version, identity)
    evidence = tuple(Evidence(source="system", name="display adapter", value=a) for a in nvidia.adapters)
    trouble = Finding(
        check=CHECK.id,
        status="error",
        summary="",
        expected="a driver that answers",
        impact=CHECK.why,
        hint=_by_hand(identity),
        links=(WSL_GUIDE,) if identity.wsl else (NVIDIA_DRIVERS,),
        evidence=evidence,
    )
    if isinstance(nvidia.driver, Absent):
        if not nvidia.adapters:
            return skipped(CHECK.id, "there is no NVIDIA GPU")
        summary = f"The driver for {nvidia.adapters[0]} is missing"
        return trouble.but(summary=summary, measured="no NVIDIA driver")
    if nvidia.complaint:
        said = Evidence(source="program", name="nvidia-smi", value=nvidia.complaint)
        if LOST.search(nvidia.complaint):
            return trouble.but(
                summary=f"A GPU does not answer: {nvidia.complaint}",
                measured=nvidia.complaint,
                hint=REVIVE_GPU,
                links=(),
                evidence=(*evidence, said),
            )
        return trouble.but(
            summary=f"The NVIDIA driver does not work: {nvidia.complaint}",
            measured=nvidia.complaint,
            evidence=(*evidence, said),
        )
    reason = nvidia.driver.reason
    hint = "Restart the machine. If the driver still does not answer, reinstall it."
    return could_not_look(CHECK.id, "the NVIDIA driver", reason, hint).but(evidence=evidence)


def _by_hand(identity: Identity) -> str:
    return IN_WINDOWS if identity.wsl else CHECK.by_hand


def _judge_version(nvidia: NvidiaFacts, version: str, identity: Identity) -> Finding:
    system = identity.os
    evidence = (Evidence(source=nvidia.evidence_source, name="driver version", value=version),)
    oldest, newest = (minimum_driver(cuda, system) for cuda in (OLDEST_CUDA, NEWEST_CUDA))
    finding = Finding(
        check=CHECK.id,
        status="ok",
        summary=f"NVIDIA driver {version}",
        measured=version,
        expected=f"{oldest} or newer for CUDA {OLDEST_CUDA}, {newest} or newer for CUDA {NEWEST_CUDA}",
        evidence=evidence,
    )
    if not version and not nvidia.reported:
        summary = "The NVIDIA driver answers, but sees no GPU and reports no version"
        return finding.but(status="info", summary=summary)
    if not version[:1].isdigit():
        return could_not_look(CHECK.id, "the driver version", f"the driver reports {version!r}")
    if driver_supports(version, OLDEST_CUDA, system) is False:
        if nvidia.gpus and max(nvidia.capabilities) < OLDEST_GPU:
            summary = f"NVIDIA driver {version}: newer ones do not support this GPU (see compute-capability)"
            return finding.but(status="info", summary=summary)
        return finding.but(
            status="error",
            summary=f"NVIDIA driver {version} is too old for every supported CUDA build of PyTorch",
            impact=CHECK.why,
            hint=_by_hand(identity),
            links=(WSL_GUIDE,) if identity.wsl else (NVIDIA_DRIVERS,),
        )
    if driver_supports(version, NEWEST_CUDA, system) is False:
        summary = f"NVIDIA driver {version}: supports CUDA {OLDEST_CUDA} builds, but not those for CUDA {NEWEST_CUDA}"
        return finding.but(summary=summary)
    return finding


CHECK = Check(
    id="nvidia-driver",
    group="gpu",
    looks_at="The NVIDIA driver, through NVML or else nvidia-smi, and the adapters the system lists on its PCI bus.",
    why="Without a working driver PyTorch finds no GPU. With an old one it fails with 'driver version is insufficient'.",
    by_hand="Install the newest driver for your GPU from NVIDIA and restart the machine.",
    probes=(NVIDIA, IDENTITY),
    judge=judge,
)
