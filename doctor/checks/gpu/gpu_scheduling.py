"""Does Windows leave the scheduling of GPU work to the GPU?"""

from __future__ import annotations

from doctor.check import Check
from doctor.checks.gpu import nvidia_driver
from doctor.checks.shared import could_not_look, registry_evidence, skipped_without_nvidia
from doctor.host import Found, Unreadable
from doctor.models import Finding
from doctor.probes.nvidia import NVIDIA, NvidiaFacts
from doctor.probes.windows_graphics import GRAPHICS, GRAPHICS_KEY, GraphicsFacts

WORDS = {1: "off", 2: "on"}


def judge(graphics: GraphicsFacts, nvidia: NvidiaFacts) -> Finding:
    if without := skipped_without_nvidia(CHECK.id, nvidia):
        return without
    mode = graphics.hardware_scheduling
    if isinstance(mode, Unreadable):
        return could_not_look(CHECK.id, "HwSchMode", mode.reason)
    value = mode.value.value if isinstance(mode, Found) else None
    state = WORDS.get(value, f"unknown ({value})") if isinstance(value, int) else "left to Windows"
    return Finding(
        check=CHECK.id,
        status="ok",
        summary=f"Hardware-accelerated GPU scheduling is {state}",
        measured=f"HwSchMode is {'absent' if value is None else value}",
        expected="either: 2 (on), 1 (off)",
        evidence=(registry_evidence(GRAPHICS_KEY, "HwSchMode", mode),),
    )


CHECK = Check(
    id="gpu-scheduling",
    group="gpu",
    looks_at=f"HwSchMode below {GRAPHICS_KEY}.",
    why="Hardware-accelerated GPU scheduling shifts timings and GPU memory a little; it is good to know when two machines are compared.",
    by_hand="Nothing to repair. Settings > System > Display > Graphics switches it; Windows restarts.",
    probes=(GRAPHICS, NVIDIA),
    judge=judge,
    systems=frozenset({"windows"}),
    because_of=(nvidia_driver.CHECK,),
)
