"""How long can a kernel run before Windows resets the GPU?"""

from __future__ import annotations

from doctor.actions import SetRegistryValue
from doctor.check import Check
from doctor.checks.gpu import nvidia_driver
from doctor.checks.requires import NVIDIA_GPU
from doctor.checks.shared import could_not_look, registry_evidence, skipped
from doctor.host import Found, Reading, RegistryValue, Unreadable
from doctor.models import Finding, Fix
from doctor.probes.nvidia import NVIDIA, NvidiaFacts
from doctor.probes.windows_graphics import GRAPHICS, GRAPHICS_KEY, GraphicsFacts

LINK = "https://learn.microsoft.com/windows-hardware/drivers/display/tdr-registry-keys"
RECOVER = 3  # TdrLevel: reset the GPU and continue
DEFAULT_SECONDS = 2
LONG_SECONDS = 60
LONG = RegistryValue(type="REG_DWORD", value=LONG_SECONDS)
WAIT_LONGER = tuple(
    SetRegistryValue(key=GRAPHICS_KEY, name=name, state=LONG) for name in ("TdrDelay", "TdrDdiDelay")
)
DEFAULT_LEVEL = SetRegistryValue(key=GRAPHICS_KEY, name="TdrLevel", state=None)
RESTORE_RECOVERY = Fix(
    id="recover-gpu",
    applicability="unsafe",
    elevated=True,
    restart="system",
    commands=(f'reg delete "{GRAPHICS_KEY}" /v TdrLevel /f',),
    actions=(DEFAULT_LEVEL,),
)
RAISE_TIMEOUT = Fix(
    id="raise-gpu-timeout",
    applicability="unsafe",
    elevated=True,
    restart="system",
    commands=tuple(
        f'reg add "{GRAPHICS_KEY}" /v {action.name} /t REG_DWORD /d {LONG_SECONDS} /f'
        for action in WAIT_LONGER
    ),
    actions=WAIT_LONGER,
)


def judge(graphics: GraphicsFacts, nvidia: NvidiaFacts) -> Finding:
    if nvidia.reported and not any(gpu.driver_model in ("WDDM", None) for gpu in nvidia.reported):
        return skipped(CHECK.id, "no GPU drives a display (TCC or MCDM)")
    values = _values(graphics)
    for name, reading in values.items():
        if isinstance(reading, Unreadable):
            return could_not_look(CHECK.id, name, reading.reason)
    level, delay = _number(graphics.tdr_level, RECOVER), _number(graphics.tdr_delay, DEFAULT_SECONDS)
    finding = Finding(
        check=CHECK.id,
        status="ok",
        summary=f"Windows resets a GPU that does not respond for {delay} s",
        measured=", ".join(
            f"{name} is {r.value.value if isinstance(r, Found) else 'absent'}" for name, r in values.items()
        ),
        expected=f"TdrLevel absent or {RECOVER}, TdrDelay at least {DEFAULT_SECONDS}",
        links=(LINK,),
        evidence=tuple(registry_evidence(GRAPHICS_KEY, name, reading) for name, reading in values.items()),
    )
    if level != RECOVER:
        does = "never resets a GPU that hangs" if level == 0 else "does not recover from a GPU that hangs"
        return finding.but(
            status="warning",
            summary=f"TdrLevel is {level}: Windows {does}",
            impact="A kernel that hangs freezes the whole desktop.",
            hint="Remove TdrLevel. If kernels need longer, raise TdrDelay instead.",
            fix=RESTORE_RECOVERY,
        )
    if delay >= LONG_SECONDS:
        return finding
    source = "the default" if delay == DEFAULT_SECONDS else f"TdrDelay = {delay}"
    return finding.but(
        status="info",
        summary=f"Windows resets a GPU that does not respond for {delay} s ({source})",
        impact=CHECK.why,
        hint="Nothing to do unless training fails with 'the launch timed out and was terminated'; then raise the limit.",
        fix=RAISE_TIMEOUT,
    )


def _values(graphics: GraphicsFacts) -> dict[str, Reading[RegistryValue]]:
    return {
        "TdrLevel": graphics.tdr_level,
        "TdrDelay": graphics.tdr_delay,
        "TdrDdiDelay": graphics.tdr_ddi_delay,
    }


def _number(reading: Reading[RegistryValue], default: int) -> int:
    """The value Windows uses: it ignores anything but a number."""
    value = reading.value.value if isinstance(reading, Found) else default
    return value if isinstance(value, int) else default


CHECK = Check(
    id="gpu-timeout",
    group="gpu",
    looks_at=f"TdrLevel, TdrDelay and TdrDdiDelay in {GRAPHICS_KEY}, and whether a GPU drives a display.",
    why="Windows treats a display GPU that does not respond for 2 s as hung and resets it: a very long kernel fails with 'the launch timed out and was terminated'.",
    by_hand="Leave the values unchanged, as Microsoft recommends, unless kernels time out. Then set TdrDelay and TdrDdiDelay to 60 (REG_DWORD) and restart; never set TdrLevel to 0.",
    probes=(GRAPHICS, NVIDIA),
    judge=judge,
    requires=(NVIDIA_GPU,),
    systems=frozenset({"windows"}),
    because_of=(nvidia_driver.CHECK,),
    elevated=(*WAIT_LONGER, DEFAULT_LEVEL),
)
