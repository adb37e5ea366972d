"""Is this Windows new enough for long paths and for today's NVIDIA drivers?"""

from __future__ import annotations

import re

from doctor.check import Check
from doctor.checks.shared import could_not_look
from doctor.host import Found, Identity, Reading, RegistryValue
from doctor.models import Evidence, Finding
from doctor.probes.system import IDENTITY, INSTALLATION_TYPE

FIRST_WITH_LONG_PATHS = 14393  # Windows 10 1607
CLIENTS = {22000: "Windows 11", 0: "Windows 10"}  # by first build
SERVERS = {26100: "2025", 25398: "23H2", 20348: "2022", 17763: "2019", 14393: "2016"}


def judge(identity: Identity, installed: Reading[RegistryValue]) -> Finding:
    version = re.fullmatch(r"10\.0\.(\d{1,6})(?:\.\d+)?", identity.os_build)
    evidence = (Evidence(source="system", name="Windows build", value=identity.os_build),)
    if version is None:
        reason = f"Windows reports {identity.os_build!r}, which is not a version known to aios"
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
    return Finding(
        check=CHECK.id,
        status="ok",
        summary=f"{_name(build, installed)}, build {build}",
        measured=f"build {build}",
        expected=f"build {FIRST_WITH_LONG_PATHS} or newer",
        evidence=evidence,
    )


def _name(build: int, installed: Reading[RegistryValue]) -> str:
    """Name a build. Clients and servers share them (26100: Windows 11 24H2, Server 2025); the registry says which it is."""
    is_server = isinstance(installed, Found) and str(installed.value.value).startswith("Server")
    names = {first: f"Windows Server {year}" for first, year in SERVERS.items()} if is_server else CLIENTS
    return next(name for first, name in names.items() if build >= first)


CHECK = Check(
    id="windows-version",
    group="system",
    looks_at="The Windows build number, and whether this is a Windows Server.",
    why="Windows before build 14393 cannot lift its limit of 260 characters per path, and has no driver for CUDA 12.",
    by_hand="Update Windows: Settings > Windows Update.",
    probes=(IDENTITY, INSTALLATION_TYPE),
    judge=judge,
    systems=frozenset({"windows"}),
)
