"""Is the folder for temporary files usable by pip and compilers: existing, short, and of plain characters?"""

from __future__ import annotations

import ntpath
from collections.abc import Mapping
from pathlib import PureWindowsPath

from doctor.actions import MakeDirectory, SetUserEnvironmentVariable
from doctor.check import Check
from doctor.checks.requires import readable
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
from doctor.host import Absent, Found, Unreadable
from doctor.host.base import USER_ENVIRONMENT
from doctor.models import Evidence, Finding, Fix, Status
from doctor.probes.system import TEMP, TempFacts
from doctor.quoting import quoted

LONGEST_MEMBER = 133  # leaves 60 characters for TEMP, which torch.compile's cache below it needs too
LONGEST_TEMP = LONGEST_PATH - PIP_FOLDERS - LONGEST_MEMBER
NAMES = ("TEMP", "TMP")


def judge(temp: TempFacts) -> Finding:
    finding = _judge(temp, temp.process)
    if finding.status not in ("error", "warning"):
        return finding
    if _judge(temp, temp.desktop).status not in ("ok", "info"):
        return finding
    summary = f"Correct for new programs, but this terminal still has the old value: {finding.summary}"
    return finding.but(status="warning", summary=summary, hint="Open a new terminal.", fix=None)


def _judge(temp: TempFacts, folders: Mapping[str, str | None]) -> Finding:
    ok = Finding(
        check=CHECK.id,
        status="ok",
        summary=f"Temporary files go to {folders['TEMP']}",
        measured=", ".join(f"{name} is {folder or 'not set'}" for name, folder in folders.items()),
        expected=f"an existing folder of at most {LONGEST_TEMP} plain characters, such as {temp.drive}\\Temp",
        evidence=(
            *(Evidence(source="environment", name=name, value=folder) for name, folder in folders.items()),
            *(registry_evidence(USER_ENVIRONMENT, name, temp.user[name]) for name in NAMES),
        ),
    )
    for rule in (_unusable, _unsuitable):
        for name, folder in folders.items():
            if finding := rule(temp, ok, name, folder or ""):
                return finding
    drive, other = (ntpath.splitdrive(path)[0] for path in (str(folders["TEMP"]), temp.environment))
    if drive.casefold() != other.casefold():
        summary = f"TEMP is on drive {drive} and this environment on {other}, and moving files between drives is a slow copy"
        return ok.but(status="info", summary=summary)
    return ok


def _unusable(temp: TempFacts, ok: Finding, name: str, folder: str) -> Finding | None:
    """The finding if programs cannot use the folder at all."""
    kind = temp.kinds.get(folder, Absent())
    problems = (
        (not folder, f"{name} is not set"),
        (
            not PureWindowsPath(folder).is_absolute(),
            f"{name} is the relative path {folder!r}: it points to a different folder depending on where a program starts",
        ),
        (kind == Found("file"), f"{name} is {folder}, which is a file"),
    )
    for applies, summary in problems:
        if applies:
            return _problem(temp, ok, "error", summary)
    if isinstance(kind, Unreadable):
        return could_not_look(CHECK.id, f"{name} ({folder})", kind.reason)
    if isinstance(kind, Found):
        return None
    suitable = folder.isascii() and " " not in folder and len(folder) <= LONGEST_TEMP
    create = suitable and temp.kinds.get(ntpath.dirname(folder)) == Found("folder")
    return _problem(
        temp, ok, "error", f"{name} is {folder}, which does not exist", _make(folder) if create else None
    )


def _unsuitable(temp: TempFacts, ok: Finding, name: str, folder: str) -> Finding | None:
    """The finding if pip or compilers fail in the folder."""
    problems = (
        (not folder.isascii(), f"{name} contains characters that build tools misread: {folder}"),
        (folder.startswith("\\\\"), f"{name} is a network path, which cmd.exe cannot work in: {folder}"),
        (" " in folder, f"{name} contains a space: {folder}"),
    )
    for applies, summary in problems:
        if applies:
            return _problem(temp, ok, "warning", summary)
    if len(folder) <= LONGEST_TEMP or (on := are_long_paths_on(temp.long_paths)):
        return None
    if on is None:
        return cannot_tell_whether_too_long(CHECK.id, folder)
    summary = f"{name} is {len(folder)} characters long, and long paths are off"
    return _problem(temp, ok, "warning", summary).but(because_of=long_paths.CHECK.id)


def _problem(
    temp: TempFacts, ok: Finding, status: Status, summary: str, create: Fix | None = None
) -> Finding:
    hint = f"Let the doctor create {temp.drive}\\Temp and set your user's TEMP and TMP to it."
    if create:
        hint = "Let the doctor create the folder."
    return ok.but(
        status=status, summary=summary, impact=CHECK.why, hint=hint, fix=create or _short_temp(temp)
    )


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
        commands=(f"mkdir {quoted(folder, windows=True)}",),
        actions=(MakeDirectory(path=folder),),
    )


CHECK = Check(
    id="temp-dir",
    group="system",
    looks_at="TEMP and TMP, of this process and of your user: whether each is set and names an existing, short path of plain ASCII without spaces.",
    why="pip unpacks and compilers build in TEMP. A long path, a space or an accented letter there ends in 'No such file' or garbled names.",
    by_hand=f"Create the folder C:\\Temp and set TEMP and TMP to it: {ENVIRONMENT_VARIABLES}.",
    probes=(TEMP,),
    judge=judge,
    systems=frozenset({"windows"}),
    at_times_because_of=(long_paths.CHECK,),
    requires=(
        readable(TEMP, f"TEMP in {USER_ENVIRONMENT}", lambda temp: temp.user["TEMP"]),
        readable(TEMP, f"TMP in {USER_ENVIRONMENT}", lambda temp: temp.user["TMP"]),
    ),
)
