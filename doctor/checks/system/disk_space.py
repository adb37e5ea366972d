"""Is there room for what is installed, unpacked, downloaded and kept?"""

from __future__ import annotations

from doctor.check import Check
from doctor.checks.shared import could_not_look
from doctor.host import Found, Unreadable, Volume
from doctor.models import Evidence, Finding, Fix
from doctor.probes.folders import DISK_USES, DiskUse
from doctor.probes.packages import TORCH, TorchFacts

GB = 10**9
NOTHING_WORKS = 1 * GB  # less than any one of these takes
# What one of them takes at most: torch for CUDA is 3.5 GB to download and 8 GB unpacked, and pip does both at once.
TO_INSTALL = {
    "packages": 12 * GB,
    "temporary files": 8 * GB,
    "pip's cache": 4 * GB,
    "uv's cache": 4 * GB,
    "models": 5 * GB,
}
# torch is there: what stays is to update a package, to build kernels, to load a small model.
TO_WORK = {"packages": 2 * GB, "temporary files": 2 * GB, "models": 5 * GB}
MAKE_ROOM = Fix(
    id="make-room",
    applicability="manual",
    commands=("python -m pip cache purge", "uv cache clean"),
)


def judge(stores: tuple[DiskUse, ...], torch: TorchFacts) -> Finding:
    needs = TO_WORK if torch.installed else TO_INSTALL
    stores = tuple(store for store in stores if store.use in needs)
    volumes: dict[str, Volume] = {}
    uses: dict[str, list[str]] = {}
    for store in stores:
        if isinstance(store.volume, Found):
            volumes[store.volume.value.root] = store.volume.value
            uses.setdefault(store.volume.value.root, []).append(store.use)

    needed = {root: max(needs[use] for use in used) for root, used in uses.items()}
    short = [root for root, volume in volumes.items() if volume.free_bytes < needed[root]]
    full = [root for root in short if volumes[root].free_bytes < NOTHING_WORKS]
    ok = Finding(
        check=CHECK.id,
        status="ok",
        summary="Room enough: " + ", ".join(_free(root, volumes[root]) for root in volumes),
        measured=", ".join(f"{_free(root, volumes[root])} for {_named(uses[root])}" for root in volumes),
        expected=", ".join(f"{_gb(needed[root])} on {root}" for root in volumes),
        evidence=tuple(
            Evidence(source="system", name=f"free on {root}", value=volume.free_bytes)
            for root, volume in volumes.items()
        ),
    )
    if short:
        lacking = (
            f"{_free(root, volumes[root])}, and {_named(uses[root])} may take {_gb(needed[root])}"
            for root in short
        )
        return ok.model_copy(
            update={
                "status": "error" if full else "warning",
                "summary": f"{'No' if full else 'Little'} room: {'; '.join(lacking)}",
                "impact": CHECK.why,
                "hint": CHECK.by_hand,
                "links": ("https://pip.pypa.io/en/stable/cli/pip_cache/",),
                "fix": MAKE_ROOM,
            }
        )
    for store in stores:
        if isinstance(store.volume, Unreadable):
            return could_not_look(CHECK.id, f"the volume of {store.use} ({store.path})", store.volume.reason)
    return ok


def _gb(size: int) -> str:
    return f"{size / GB:.1f} GB" if size < 10 * GB else f"{size // GB} GB"


def _free(root: str, volume: Volume) -> str:
    return f"{_gb(volume.free_bytes)} free on {root}"


def _named(uses: list[str]) -> str:
    return " and ".join((", ".join(uses[:-1]), uses[-1])) if len(uses) > 1 else uses[0]


CHECK = Check(
    id="disk-space",
    group="system",
    looks_at="What is free for this user on the volumes of the packages, of temporary files, of pip's cache and of models.",
    why="torch for CUDA is downloaded, unpacked and installed side by side, each by gigabytes; where one volume runs full, pip ends with 'No space left on device'.",
    by_hand="Empty what is cached, or point TEMP, PIP_CACHE_DIR or HF_HOME to a larger drive.",
    probes=(DISK_USES, TORCH),
    judge=judge,
)
