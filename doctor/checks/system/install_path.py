"""Does this environment lie where packages can be unpacked, loaded and compiled?"""

from __future__ import annotations

from doctor.check import Check
from doctor.checks.shared import could_not_look
from doctor.checks.system import long_paths as long_paths_check
from doctor.checks.system import python_distribution
from doctor.checks.system.folder_rules import (
    LONGEST_PATH,
    are_long_paths_on,
    cannot_tell_whether_too_long,
    longest_name_in_torch,
    trouble_with_volume,
    why_unseen,
)
from doctor.host import Found, Identity, Reading, RegistryValue
from doctor.models import Evidence, Finding, Fix
from doctor.probes.folders import ENVIRONMENT, Folder
from doctor.probes.packages import TORCH, TorchFacts
from doctor.probes.system import IDENTITY, LONG_PATHS

SHORT = "C:\\aios\\.venv"
# An environment cannot be moved: its programs know their folder.
ANEW = Fix(
    id="environment-in-a-short-folder",
    applicability="manual",
    commands=(f"python -m venv {SHORT}", f"{SHORT}\\Scripts\\python.exe -m pip install -e ."),
)
LINKS = (
    "https://docs.python.org/3/library/venv.html",
    "https://learn.microsoft.com/windows/win32/fileio/maximum-file-path-limitation",
)


def judge(
    identity: Identity, torch: TorchFacts, folder: Folder, long_paths: Reading[RegistryValue]
) -> Finding:
    path = folder.path
    evidence = [Evidence(source="identity", name="site-packages", value=path)]
    if isinstance(folder.volume, Found):
        volume = folder.volume.value
        evidence.append(
            Evidence(source="system", name=volume.root, value=f"{volume.file_system}, {volume.kind}")
        )
    ok = Finding(
        check=CHECK.id,
        status="ok",
        summary=f"The packages of this Python lie in {path}",
        measured=f"{len(path)} characters",
        expected=f"a short folder of plain letters on a local NTFS volume, such as {SHORT}",
        evidence=tuple(evidence),
    )

    def finding(status: str, summary: str, fix: Fix, hint: str) -> Finding:
        found = {"status": status, "summary": summary, "impact": CHECK.why, "hint": hint, "fix": fix}
        return ok.model_copy(update={**found, "links": LINKS})

    if trouble := trouble_with_volume(folder):
        return finding("warning", f"This environment {trouble}: {path}", ANEW, CHECK.by_hand)
    if reason := why_unseen(folder):
        return could_not_look(CHECK.id, f"the volume of {path}", reason)

    if named := longest_name_in_torch(torch, identity):
        version, longest = named
        limit = LONGEST_PATH - 1 - longest
        if len(path) > limit and (on := are_long_paths_on(long_paths)) is not True:
            if on is None:
                return cannot_tell_whether_too_long(CHECK.id, path)
            summary = f"torch {version.base_version} does not fit below a path of {len(path)} characters"
            return finding("error", summary, ANEW, CHECK.by_hand).model_copy(
                update={
                    "expected": f"at most {limit} characters, or long paths switched on",
                    "because_of": long_paths_check.CHECK.id,
                }
            )
    if not path.isascii():
        summary = f"Compilers misread the letters in this environment's path: {path}"
        return finding("warning", summary, ANEW, CHECK.by_hand)
    if " " in path:
        summary = f"This environment's path holds a space, which some builds split it at: {path}"
        return ok.model_copy(update={"status": "info", "summary": summary})
    return ok


CHECK = Check(
    id="install-path",
    group="system",
    looks_at="The folder of this Python's packages: its length, its letters, OneDrive, and its volume.",
    why="torch's longest file name must fit below this folder; OneDrive and network drives lock files while pip writes them; compilers misread letters outside of ASCII.",
    by_hand=f"Make a new environment in a short folder of a local drive, such as {SHORT}, and install into it again: an environment cannot be moved.",
    probes=(IDENTITY, TORCH, ENVIRONMENT, LONG_PATHS),
    judge=judge,
    systems=frozenset({"windows"}),
    because_of=(python_distribution.CHECK,),
    at_times_because_of=(long_paths_check.CHECK,),
)
