"""Is this Windows new enough for long paths and for today's NVIDIA drivers?"""

from __future__ import annotations

import re

from doctor.check import Check
from doctor.checks.shared import could_not_look
from doctor.host import Identity
from doctor.models import Evidence, Finding
from doctor.probes.system import IDENTITY

FIRST_WITH_LONG_PATHS = 14393  # Windows 10 1607


def judge(identity: Identity) -> Finding:
    version = re.fullmatch(r"10\.0\.(\d{1,6})(?:\.\d+)?", identity.os_build)
    evidence = (Evidence(source="system", name="Windows build", value=identity.os_build),)
    if version is None:
        reason = f"Windows calls itself {identity.os_build!r}, which is no version that aios knows"
        return could_not_look(CHECK.id, "the Windows version", reason)
    build = int(version.group(1))
    if build < FIRST_WITH_LONG_PATHS:
        return Finding(
            check=CHECK.id,
            status="error",
            summary=f"Windows build {build} is too old for long paths and for today's NVIDIA drivers",
            measured=f"build {build}",
            expected=f"build {FIRST_WITH_LONG_PATHS} (Windows 10 1607) or newer",
            impact=CHECK.why,
            hint=CHECK.by_hand,
            evidence=evidence,
        )
    name = "Windows 11" if build >= 22000 else "Windows 10"
    return Finding(
        check=CHECK.id,
        status="ok",
        summary=f"{name}, build {build}",
        measured=f"build {build}",
        expected=f"build {FIRST_WITH_LONG_PATHS} or newer",
        evidence=evidence,
    )


CHECK = Check(
    id="windows-version",
    group="system",
    looks_at="The Windows build number.",
    why="Windows before build 14393 cannot lift its limit of 260 characters a path, and no driver for CUDA 12 runs on it.",
    by_hand="Update Windows: Settings > Windows Update.",
    probes=(IDENTITY,),
    judge=judge,
    systems=frozenset({"windows"}),
)
