"""Under WSL: is the NVIDIA driver the one from Windows, and is the environment on the Linux disk?"""

from __future__ import annotations

import re

from doctor.check import Check, Requirement
from doctor.checks.shared import could_not_look, skipped
from doctor.host import Found, Unreadable
from doctor.models import Evidence, Finding, Fix
from doctor.probes.wsl import WINDOWS_DRIVER_FOLDER, WSL, WslFacts

GUIDE = "https://docs.nvidia.com/cuda/wsl-user-guide/index.html"
# The one from Windows ends in 1 or 1.1, also in containers
LINUX_DRIVER = re.compile(r"libcuda\.so\.\d{3}[.\d]*")
WINDOWS_DISK = re.compile(r"/mnt/[a-z]/")
CUDA_LIBRARY = f"{WINDOWS_DRIVER_FOLDER}/libcuda.so.1"
REMOVE_LINUX_DRIVER = Fix(
    id="remove-linux-driver",
    applicability="manual",
    elevated=True,
    commands=("sudo apt remove --purge '^nvidia-driver-.*' '^libnvidia-compute-.*'",),
)


def judge(wsl: WslFacts) -> Finding:
    windows_driver = isinstance(wsl.windows_driver, Found) and "libcuda.so.1" in wsl.windows_driver.value
    linux_drivers = _linux_drivers(wsl)
    prefix = wsl.identity.prefix
    ok = Finding(
        check=CHECK.id,
        status="ok",
        summary="WSL with the NVIDIA driver from Windows",
        measured=f"{CUDA_LIBRARY} {'exists' if windows_driver else 'is missing'}, environment in {prefix}",
        expected="only the driver from Windows, and an environment on the Linux disk",
        links=(GUIDE,),
        evidence=(
            Evidence(source="file", name=CUDA_LIBRARY, value="there" if windows_driver else None),
            Evidence(source="file", name="a Linux driver", value=linux_drivers or None),
            Evidence(source="identity", name="prefix", value=prefix),
        ),
    )
    if linux_drivers:
        return ok.but(
            status="warning",
            summary=f"An NVIDIA driver for Linux is installed inside WSL: {linux_drivers[0]}",
            impact=CHECK.why,
            hint=CHECK.by_hand,
            fix=REMOVE_LINUX_DRIVER,
        )
    if WINDOWS_DISK.match(prefix):
        return ok.but(
            status="warning",
            summary=f"The environment is on a Windows disk, which is slow in WSL: {prefix}",
            impact="Importing torch takes many times as long, and installing it even longer.",
            hint="Create the environment in your Linux home folder, and reinstall the packages there.",
        )
    if not windows_driver:
        return ok.but(
            status="info", summary="WSL without an NVIDIA driver from Windows: no GPU is visible here"
        )
    return ok


def _linux_drivers(wsl: WslFacts) -> list[str]:
    return [
        f"{folder}/{name}"
        for folder, names in wsl.linux_libraries.items()
        if isinstance(names, Found)
        for name in names.value
        if LINUX_DRIVER.fullmatch(name)
    ]


def _outside_wsl_or_unreadable(check: str, wsl: WslFacts | None) -> Finding | None:
    if wsl is None:
        return skipped(check, "this is not the Windows Subsystem for Linux")
    for folder, names in ((WINDOWS_DRIVER_FOLDER, wsl.windows_driver), *wsl.linux_libraries.items()):
        if isinstance(names, Unreadable):
            return could_not_look(check, folder, names.reason)
    return None


CHECK = Check(
    id="wsl",
    group="system",
    looks_at=f"Under WSL: {WINDOWS_DRIVER_FOLDER}, NVIDIA libraries installed inside Linux, and the disk this environment is on.",
    why="Windows provides its NVIDIA driver to WSL. A driver installed inside WSL hides it, and programs then find no GPU.",
    by_hand="Remove the NVIDIA driver inside WSL and install it only in Windows. Inside WSL, install only the CUDA toolkit.",
    probes=(WSL,),
    judge=judge,
    requires=(Requirement((WSL,), _outside_wsl_or_unreadable),),
    systems=frozenset({"linux"}),
)
