"""Under WSL: is the NVIDIA driver the one of Windows, and does the environment lie on Linux' own disk?"""

from __future__ import annotations

import re

from doctor.check import Check
from doctor.checks.shared import could_not_look, skipped
from doctor.host import Found, Unreadable
from doctor.models import Evidence, Finding, Fix
from doctor.probes.wsl import WINDOWS_DRIVER_FOLDER, WSL, WslFacts

GUIDE = "https://docs.nvidia.com/cuda/wsl-user-guide/index.html"
LINUX_DRIVER = re.compile(r"libcuda\.so\.\d{3}[.\d]*")  # Windows' own ends in 1 or 1.1, in containers, too
WINDOWS_DISK = re.compile(r"/mnt/[a-z]/")


def judge(wsl: WslFacts | None) -> Finding:
    if wsl is None:
        return skipped(CHECK.id, "this is not the Windows Subsystem for Linux")
    for folder, names in ((WINDOWS_DRIVER_FOLDER, wsl.windows_driver), *wsl.linux_libraries.items()):
        if isinstance(names, Unreadable):
            return could_not_look(CHECK.id, folder, names.reason)
    lent = isinstance(wsl.windows_driver, Found) and "libcuda.so.1" in wsl.windows_driver.value
    own = [
        f"{folder}/{name}"
        for folder, names in wsl.linux_libraries.items()
        if isinstance(names, Found)
        for name in names.value
        if LINUX_DRIVER.fullmatch(name)
    ]
    prefix = wsl.identity.prefix
    ok = Finding(
        check=CHECK.id,
        status="ok",
        summary="WSL with the NVIDIA driver of Windows",
        measured=f"{WINDOWS_DRIVER_FOLDER}/libcuda.so.1 {'is there' if lent else 'is absent'}, environment in {prefix}",
        expected="the driver of Windows alone, and an environment on Linux' own disk",
        links=(GUIDE,),
        evidence=(
            Evidence(
                source="file", name=f"{WINDOWS_DRIVER_FOLDER}/libcuda.so.1", value="there" if lent else None
            ),
            Evidence(source="file", name="a driver of Linux' own", value=own or None),
            Evidence(source="identity", name="prefix", value=prefix),
        ),
    )
    if own:
        return ok.model_copy(
            update={
                "status": "warning",
                "summary": f"An NVIDIA driver for Linux is installed inside WSL: {own[0]}",
                "impact": CHECK.why,
                "hint": CHECK.by_hand,
                "fix": Fix(
                    id="remove-linux-driver",
                    applicability="manual",
                    elevated=True,
                    commands=("sudo apt remove --purge '^nvidia-driver-.*' '^libnvidia-compute-.*'",),
                ),
            }
        )
    if WINDOWS_DISK.match(prefix):
        return ok.model_copy(
            update={
                "status": "warning",
                "summary": f"The environment lies on a disk of Windows, which WSL reads slowly: {prefix}",
                "impact": "Importing torch takes many times as long, and installing it even more.",
                "hint": "Make the environment below your Linux home folder, and install there.",
            }
        )
    if not lent:
        return ok.model_copy(
            update={
                "status": "info",
                "summary": "WSL, and Windows lends it no NVIDIA driver: the GPU is not seen here",
            }
        )
    return ok


CHECK = Check(
    id="wsl",
    group="system",
    looks_at=f"Under WSL: {WINDOWS_DRIVER_FOLDER}, NVIDIA libraries of Linux' own, and the disk on which this environment lies.",
    why="Windows lends WSL its NVIDIA driver; one installed inside hides it, and programs then find no GPU.",
    by_hand="Remove the NVIDIA driver inside WSL, and install it in Windows alone; of CUDA, install only the toolkit.",
    probes=(WSL,),
    judge=judge,
    systems=frozenset({"linux"}),
)
