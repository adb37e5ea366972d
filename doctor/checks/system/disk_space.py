"""Is there enough disk space to install, unpack, download and cache packages and models?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from doctor.check import Check
from doctor.checks.shared import could_not_look
from doctor.host import Found, Unreadable, Volume
from doctor.models import Evidence, Finding, Fix
from doctor.probes.folders import DISK_USES, DiskUse
from doctor.probes.packages import TORCH, TorchFacts

GB = 10**9
FULL = 1 * GB  # less than any of the uses below needs
# The most that each use needs: torch for CUDA is 3.5 GB to download and 8 GB unpacked, and pip needs both at once
TO_INSTALL = {
    "packages": 12 * GB,
    "temporary files": 8 * GB,
    "pip's cache": 4 * GB,
    "uv's cache": 4 * GB,
    "models": 5 * GB,
}
# With torch installed: enough to update a package, build kernels or load a small model
TO_WORK = {"packages": 2 * GB, "temporary files": 2 * GB, "models": 5 * GB}
FREE_SPACE = Fix(
    id="make-room",
    applicability="manual",
    commands=("python -m pip cache purge", "uv cache clean"),
)


@dataclass(frozen=True)
class Need:
    """A volume, what it is used for, and the bytes that needs."""

    volume: Volume
    uses: tuple[str, ...]
    needed: int

    @property
    def root(self) -> str:
        return self.volume.root

    @property
    def is_short(self) -> bool:
        return self.volume.free_bytes < self.needed

    def __str__(self) -> str:
        """ "3.0 GB free on C:"."""
        return f"{_gb(self.volume.free_bytes)} free on {self.root}"


def judge(folders: tuple[DiskUse, ...], torch: TorchFacts) -> Finding:
    needed = TO_WORK if torch.installed else TO_INSTALL
    folders = tuple(folder for folder in folders if folder.use in needed)
    needs = _needs(folders, needed)
    ok = Finding(
        check=CHECK.id,
        status="ok",
        summary="Enough disk space: " + ", ".join(map(str, needs)),
        measured=", ".join(f"{need} for {_and(need.uses)}" for need in needs),
        expected=", ".join(f"{_gb(need.needed)} on {need.root}" for need in needs),
        evidence=tuple(
            Evidence(source="system", name=f"free on {need.root}", value=need.volume.free_bytes)
            for need in needs
        ),
    )
    if short := [need for need in needs if need.is_short]:
        full = any(need.volume.free_bytes < FULL for need in short)
        shortages = "; ".join(f"{need}, but {_and(need.uses)} may need {_gb(need.needed)}" for need in short)
        return ok.but(
            status="error" if full else "warning",
            summary=f"{'No' if full else 'Little'} disk space: {shortages}",
            impact=CHECK.why,
            hint=CHECK.by_hand,
            links=("https://pip.pypa.io/en/stable/cli/pip_cache/",),
            fix=FREE_SPACE,
        )
    for folder in folders:
        if isinstance(folder.volume, Unreadable):
            return could_not_look(
                CHECK.id, f"the volume of {folder.use} ({folder.path})", folder.volume.reason
            )
    return ok


def _needs(folders: tuple[DiskUse, ...], needed: Mapping[str, int]) -> list[Need]:
    """Each volume with its uses. It needs what the largest of them needs."""
    volumes: dict[str, Volume] = {}
    uses: dict[str, list[str]] = {}
    for folder in folders:
        if isinstance(folder.volume, Found):
            volumes[folder.volume.value.root] = folder.volume.value
            uses.setdefault(folder.volume.value.root, []).append(folder.use)
    return [
        Need(volume, tuple(uses[root]), max(needed[use] for use in uses[root]))
        for root, volume in volumes.items()
    ]


def _gb(size: int) -> str:
    return f"{size / GB:.1f} GB" if size < 10 * GB else f"{size // GB} GB"


def _and(uses: tuple[str, ...]) -> str:
    """ "packages, temporary files and models"."""
    return " and ".join((", ".join(uses[:-1]), uses[-1])) if len(uses) > 1 else uses[0]


CHECK = Check(
    id="disk-space",
    group="system",
    looks_at="The free space for this user on the volumes of packages, temporary files, package caches and models.",
    why="Downloading, unpacking and installing torch for CUDA takes gigabytes each, at the same time. On a full volume pip fails with 'No space left on device'.",
    by_hand="Empty the caches, or set TEMP, PIP_CACHE_DIR or HF_HOME to a folder on a larger drive.",
    probes=(DISK_USES, TORCH),
    judge=judge,
)
