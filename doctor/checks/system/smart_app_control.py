"""Does Smart App Control allow unsigned compiled packages?"""

from __future__ import annotations

from doctor.check import Check
from doctor.checks.shared import could_not_look, registry_evidence
from doctor.host import Absent, Distribution, Found, Reading, RegistryValue, Unreadable
from doctor.models import Finding, Fix
from doctor.probes.packages import (
    FLASH_ATTN,
    TRITON,
    XFORMERS,
    FlashAttnFacts,
    TritonFacts,
    XformersFacts,
)
from doctor.probes.windows_settings import POLICY_KEY, POLICY_VALUE, SMART_APP_CONTROL

STATES = {0: "off", 1: "on", 2: "evaluating"}
USE_WSL = Fix(
    id="smart-app-control",
    applicability="manual",
    elevated=True,
    restart="system",
    reversible=False,
    commands=("wsl --install",),
)
LINKS = ("https://learn.microsoft.com/windows/apps/develop/smart-app-control/overview",)


def judge(
    setting: Reading[RegistryValue], flash: FlashAttnFacts, xformers: XformersFacts, triton: TritonFacts
) -> Finding:
    if isinstance(setting, Unreadable):
        hint = "Check it yourself: Windows Security > App & browser control > Smart App Control settings"
        return could_not_look(CHECK.id, f"{POLICY_VALUE} in the registry", setting.reason, hint)
    number = setting.value.value if isinstance(setting, Found) else None
    if not isinstance(setting, Absent) and number not in STATES:
        return could_not_look(CHECK.id, POLICY_VALUE, f"{number!r} is not a known value")
    state = STATES.get(number, "") if isinstance(number, int) else ""
    ok = Finding(
        check=CHECK.id,
        status="ok",
        summary=f"Smart App Control is {state}" if state else "This Windows has no Smart App Control",
        measured=f"{POLICY_VALUE} is {'absent' if number is None else number}",
        expected="0 (off), 2 (evaluating) or absent",
        evidence=(registry_evidence(POLICY_KEY, POLICY_VALUE, setting),),
    )
    if state != "on":
        return ok
    unsigned = _installed(flash.distribution, xformers.distribution, triton.triton_windows)
    what = f"it may block {unsigned}" if unsigned else "it blocks unsigned packages"
    return ok.but(
        status="warning" if unsigned else "info",
        summary=f"Smart App Control is on: {what}",
        impact=CHECK.why,
        hint=CHECK.by_hand,
        links=LINKS,
        fix=USE_WSL,
    )


def _installed(*readings: Reading[Distribution]) -> str:
    return ", ".join(reading.value.name for reading in readings if isinstance(reading, Found))


CHECK = Check(
    id="smart-app-control",
    group="system",
    looks_at=f"The registry value {POLICY_KEY}\\{POLICY_VALUE}, and the installed packages whose libraries are unsigned.",
    why="Smart App Control blocks libraries that are neither signed nor widely known: flash-attn, xformers and the kernels compiled by Triton fail with 'WinError 4551'.",
    by_hand="Work in WSL 2, where it does not apply, or change it in Windows Security > App & browser control. The doctor never changes it, because it may not be possible to switch it on again without resetting Windows.",
    probes=(SMART_APP_CONTROL, FLASH_ATTN, XFORMERS, TRITON),
    judge=judge,
    systems=frozenset({"windows"}),
)
