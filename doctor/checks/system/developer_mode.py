"""Can Hugging Face's cache link files instead of copying them?"""

from __future__ import annotations

from doctor.actions import SetRegistryValue
from doctor.check import Check
from doctor.checks.shared import could_not_look, registry_evidence
from doctor.host import Found, RegistryValue, Unreadable
from doctor.models import Evidence, Finding, Fix
from doctor.probes.windows_settings import COPIES_ACCEPTED, DEVELOPER_KEY, DEVELOPER_VALUE, LINKS, LinkFacts

ON = RegistryValue(type="REG_DWORD", value=1)
ENABLE = Fix(
    id="enable-developer-mode",
    applicability="unsafe",  # it also allows apps from any source
    elevated=True,
    restart="shell",
    commands=(f"reg add {DEVELOPER_KEY} /v {DEVELOPER_VALUE} /t REG_DWORD /d 1 /f",),
    actions=(SetRegistryValue(key=DEVELOPER_KEY, name=DEVELOPER_VALUE, state=ON),),
)


def judge(links: LinkFacts) -> Finding:
    setting = links.developer_mode
    evidence = (
        registry_evidence(DEVELOPER_KEY, DEVELOPER_VALUE, setting),
        Evidence(source="environment", name=COPIES_ACCEPTED, value=links.copies_accepted),
    )
    if isinstance(setting, Unreadable):
        hint = f"Check it yourself: reg query {DEVELOPER_KEY} /v {DEVELOPER_VALUE}"
        return could_not_look(CHECK.id, f"{DEVELOPER_VALUE} in the registry", setting.reason, hint)
    on = isinstance(setting, Found) and setting.value == ON
    accepted = (links.copies_accepted or "").upper() in ("1", "ON", "YES", "TRUE")
    value = str(setting.value.value) if isinstance(setting, Found) else "absent"
    finding = Finding(
        check=CHECK.id,
        status="ok",
        summary="Developer mode is on: every program can create symbolic links",
        measured=f"{DEVELOPER_VALUE} is {value}",
        expected="1 (REG_DWORD)",
        evidence=evidence,
    )
    if on:
        return finding
    if accepted:
        summary = "Developer mode is off, and the model cache is set to make copies"
        return finding.but(summary=summary)
    return finding.but(
        status="info",
        summary="Developer mode is off: the model cache copies files instead of linking them",
        impact=CHECK.why,
        hint=f"Accept the copies (set {COPIES_ACCEPTED}=1 to hide the warning), or switch developer mode on.",
        links=("https://learn.microsoft.com/windows/apps/get-started/enable-your-device-for-development",),
        fix=ENABLE,
    )


CHECK = Check(
    id="developer-mode",
    group="system",
    looks_at=f"The registry value {DEVELOPER_KEY}\\{DEVELOPER_VALUE}: with it, programs can create symbolic links without administrator rights.",
    why="Without links, Hugging Face's cache stores a copy of each file for every revision of a model, and tools that require links fail with 'WinError 1314'.",
    by_hand="Settings > System > For developers > Developer Mode. It also allows apps from any source: leave it off if you do not need it.",
    probes=(LINKS,),
    judge=judge,
    systems=frozenset({"windows"}),
    elevated=ENABLE.actions,
)
