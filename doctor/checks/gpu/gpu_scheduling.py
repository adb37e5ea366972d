"""Is hardware-accelerated GPU scheduling on?"""

from __future__ import annotations

from doctor.check import Check
from doctor.checks.gpu import nvidia_driver
from doctor.checks.requires import NVIDIA_GPU, readable
from doctor.checks.shared import registry_evidence
from doctor.host import Found
from doctor.models import Finding
from doctor.probes.windows_graphics import GRAPHICS, GRAPHICS_KEY, GraphicsFacts

WORDS = {1: "off", 2: "on"}


def judge(graphics: GraphicsFacts) -> Finding:
    mode = graphics.hardware_scheduling
    value = mode.value.value if isinstance(mode, Found) else None
    state = WORDS.get(value, f"unknown ({value})") if isinstance(value, int) else "left to Windows"
    return Finding(
        check=CHECK.id,
        status="ok",
        summary=f"Hardware-accelerated GPU scheduling is {state}",
        measured=f"HwSchMode is {'absent' if value is None else value}",
        expected="2 (on) or 1 (off)",
        evidence=(registry_evidence(GRAPHICS_KEY, "HwSchMode", mode),),
    )


CHECK = Check(
    id="gpu-scheduling",
    group="gpu",
    looks_at=f"HwSchMode below {GRAPHICS_KEY}.",
    why="Hardware-accelerated GPU scheduling changes timings and GPU memory slightly, which matters when comparing machines.",
    by_hand="Nothing to fix. To change it: Settings > System > Display > Graphics, then restart Windows.",
    probes=(GRAPHICS,),
    judge=judge,
    requires=(NVIDIA_GPU, readable(GRAPHICS, "HwSchMode", lambda graphics: graphics.hardware_scheduling)),
    systems=frozenset({"windows"}),
    because_of=(nvidia_driver.CHECK,),
)
