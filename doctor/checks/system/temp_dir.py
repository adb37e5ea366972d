"""Is the folder for temporary files there, short, and free of characters that build tools stumble over?"""

from __future__ import annotations

import ntpath
from collections.abc import Mapping
from pathlib import PureWindowsPath

from doctor.actions import MakeDirectory, SetUserEnvironmentVariable
from doctor.check import Check
from doctor.checks.shared import could_not_look, registry_evidence
from doctor.checks.system import long_paths
from doctor.checks.system.folder_rules import (
    LONGEST_PATH,
    PIP_FOLDERS,
    are_long_paths_on,
    cannot_tell_whether_too_long,
    with_kept_type,
)
from doctor.checks.system.variable_fixes import ENVIRONMENT_VARIABLES, SIGN_OUT, set_for_user
from doctor.host import Found, Unreadable
from doctor.host.base import USER_ENVIRONMENT
from doctor.models import Evidence, Finding, Fix
from doctor.probes.system import TEMP, TempFacts

LONGEST_MEMBER = 133  # leaves TEMP 60 characters: what torch.compile's cache below it needs, too
LONGEST_TEMP = LONGEST_PATH - PIP_FOLDERS - LONGEST_MEMBER
NAMES = ("TEMP", "TMP")


def judge(temp: TempFacts) -> Finding:
    finding = _judge(temp, temp.process)
    if finding.status not in ("error", "warning"):
        return finding
    if _judge(temp, temp.desktop).status not in ("ok", "info"):
        return finding
    summary = f"Right for new programs; this terminal still has the old value: {finding.summary}"
    update = {"status": "warning", "summary": summary, "hint": "Open a new terminal.", "fix": None}
    return finding.model_copy(update=update)


def _judge(temp: TempFacts, folders: Mapping[str, str | None]) -> Finding:
    measured = ", ".join(f"{name} is {folder or 'not set'}" for name, folder in folders.items())
    evidence = (
        *(Evidence(source="environment", name=name, value=folder) for name, folder in folders.items()),
        *(registry_evidence(USER_ENVIRONMENT, name, temp.user[name]) for name in NAMES),
    )
    expected = f"an existing folder of at most {LONGEST_TEMP} plain characters, such as {temp.drive}\\Temp"
    ok = Finding(
        check=CHECK.id,
        status="ok",
        summary=f"Temporary files go to {folders['TEMP']}",
        measured=measured,
        expected=expected,
        evidence=evidence,
    )

    def finding(status: str, summary: str, fix: Fix) -> Finding:
        hint = (
            "Let the doctor make the folder."
            if fix.id == "make-temp-dir"
            else f"Let the doctor make {temp.drive}\\Temp and point TEMP and TMP of your user to it."
        )
        found = {"status": status, "summary": summary, "impact": CHECK.why, "hint": hint, "fix": fix}
        return ok.model_copy(update=found)

    for name, folder in folders.items():
        if isinstance(reading := temp.user[name], Unreadable):
            return could_not_look(CHECK.id, f"{name} in {USER_ENVIRONMENT}", reading.reason)
        if not folder:
            return finding("error", f"{name} is not set", _short_temp(temp))
        if not PureWindowsPath(folder).is_absolute():
            summary = f"{name} is {folder!r}, which means another folder in every folder"
            return finding("error", summary, _short_temp(temp))
        if isinstance(state := temp.kinds[folder], Unreadable):
            return could_not_look(CHECK.id, f"{name} ({folder})", state.reason)
        if isinstance(state, Found) and state.value == "file":
            return finding("error", f"{name} is {folder}, which is a file", _short_temp(temp))
        if not _is_folder(temp, folder):
            good = folder.isascii() and " " not in folder and len(folder) <= LONGEST_TEMP
            fix = _make(folder) if good and _is_folder(temp, ntpath.dirname(folder)) else _short_temp(temp)
            return finding("error", f"{name} is {folder}, and there is no such folder", fix)
    for name, folder in folders.items():
        if not str(folder).isascii():
            summary = f"{name} holds characters that build tools misread: {folder}"
            return finding("warning", summary, _short_temp(temp))
        if str(folder).startswith("\\\\"):
            summary = f"{name} is a network path, where cmd.exe cannot go: {folder}"
            return finding("warning", summary, _short_temp(temp))
        if " " in str(folder):
            return finding("warning", f"{name} holds a space: {folder}", _short_temp(temp))
        if len(str(folder)) > LONGEST_TEMP and (on := are_long_paths_on(temp.long_paths)) is not True:
            if on is None:
                return cannot_tell_whether_too_long(CHECK.id, str(folder))
            summary = f"{name} is {len(str(folder))} characters long, and long paths are off"
            found = finding("warning", summary, _short_temp(temp))
            return found.model_copy(update={"because_of": long_paths.CHECK.id})
    drives = [ntpath.splitdrive(path)[0] for path in (str(folders["TEMP"]), temp.environment)]
    if drives[0].casefold() != drives[1].casefold():
        summary = (
            f"TEMP is on {drives[0]} and this environment on {drives[1]} - no file is renamed across drives"
        )
        return ok.model_copy(update={"status": "info", "summary": summary})
    return ok


def _short_temp(temp: TempFacts) -> Fix:
    folder = f"{temp.drive}\\Temp"
    states = {name: with_kept_type(temp.user[name], folder) for name in NAMES}
    return Fix(
        id="short-temp",
        applicability="safe",
        restart="shell",
        commands=(
            f"mkdir {folder}",
            *(set_for_user(name, state) for name, state in states.items()),
            SIGN_OUT,
        ),
        actions=(
            MakeDirectory(path=folder),
            *(SetUserEnvironmentVariable(name=name, state=state) for name, state in states.items()),
        ),
    )


def _make(folder: str) -> Fix:
    return Fix(
        id="make-temp-dir",
        applicability="safe",
        commands=(f'mkdir "{folder}"',),
        actions=(MakeDirectory(path=folder),),
    )


def _is_folder(temp: TempFacts, path: str) -> bool:
    return temp.kinds.get(path) == Found("folder")


CHECK = Check(
    id="temp-dir",
    group="system",
    looks_at="TEMP and TMP, of this process and of your user: set, existing, short, no spaces, plain ASCII.",
    why="pip unpacks and compilers build below TEMP: a long path, a space or an accented letter there ends in 'No such file' or a garbled name.",
    by_hand=f"Make the folder C:\\Temp, and set TEMP and TMP to it: {ENVIRONMENT_VARIABLES}.",
    probes=(TEMP,),
    judge=judge,
    systems=frozenset({"windows"}),
    at_times_because_of=(long_paths.CHECK,),
)
