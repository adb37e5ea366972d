"""Does Windows allow paths longer than 259 characters?"""

from __future__ import annotations

from doctor.actions import SetRegistryValue
from doctor.check import Check
from doctor.checks.shared import could_not_look, registry_evidence
from doctor.checks.system.folder_rules import LONG_PATHS_ON, LONGEST_PATH, are_long_paths_on
from doctor.host import Absent, Reading, RegistryValue, Unreadable
from doctor.models import Finding, Fix
from doctor.probes.system import FILE_SYSTEM_KEY, LONG_PATHS, LONG_PATHS_VALUE

ENABLE = Fix(
    id="enable-long-paths",
    applicability="safe",
    elevated=True,
    restart="shell",
    commands=(f"reg add {FILE_SYSTEM_KEY} /v {LONG_PATHS_VALUE} /t REG_DWORD /d 1 /f",),
    actions=(SetRegistryValue(key=FILE_SYSTEM_KEY, name=LONG_PATHS_VALUE, state=LONG_PATHS_ON),),
)


def judge(setting: Reading[RegistryValue]) -> Finding:
    evidence = (registry_evidence(FILE_SYSTEM_KEY, LONG_PATHS_VALUE, setting),)
    if isinstance(setting, Unreadable):
        hint = f"Check it yourself: reg query {FILE_SYSTEM_KEY} /v {LONG_PATHS_VALUE}"
        unseen = could_not_look(CHECK.id, f"{LONG_PATHS_VALUE} in the registry", setting.reason, hint)
        return unseen.but(evidence=evidence)
    if isinstance(setting, Absent):
        measured = f"{LONG_PATHS_VALUE} is absent"
    else:
        measured = f"{LONG_PATHS_VALUE} is {setting.value.value} ({setting.value.type})"
        if are_long_paths_on(setting):
            return Finding(
                check=CHECK.id,
                status="ok",
                summary=f"Paths longer than {LONGEST_PATH} characters are allowed",
                measured=measured,
                expected="1 (REG_DWORD)",
                evidence=evidence,
            )
    return Finding(
        check=CHECK.id,
        status="error",
        summary=f"Windows refuses paths longer than {LONGEST_PATH} characters",
        measured=measured,
        expected="1 (REG_DWORD)",
        impact=CHECK.why,
        hint="Let the doctor switch long paths on (it asks for administrator rights), then open a new terminal.",
        links=("https://learn.microsoft.com/windows/win32/fileio/maximum-file-path-limitation",),
        evidence=evidence,
        fix=ENABLE,
    )


CHECK = Check(
    id="long-paths",
    group="system",
    looks_at=f"The registry value {FILE_SYSTEM_KEY}\\{LONG_PATHS_VALUE}. If it is missing, long paths are off.",
    why=f"torch 2.13 and flash-attn contain files whose paths exceed {LONGEST_PATH} characters in an ordinary folder: pip then fails with 'No such file or directory'.",
    by_hand=f"In a terminal run as administrator: `{ENABLE.commands[0]}`. Then open a new terminal. ninja and Microsoft's compiler keep the limit even then: build in a short folder.",
    probes=(LONG_PATHS,),
    judge=judge,
    systems=frozenset({"windows"}),
    elevated=ENABLE.actions,
)
