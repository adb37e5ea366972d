"""Is this environment in a folder where packages can be unpacked, loaded and compiled?"""

from __future__ import annotations

from packaging.version import Version

from doctor.check import Check
from doctor.checks.shared import could_not_look
from doctor.checks.system import long_paths as long_paths_check
from doctor.checks.system import python_distribution
from doctor.checks.system.folder_rules import (
    LONGEST_PATH,
    are_long_paths_on,
    cannot_tell_whether_too_long,
    longest_name_in_torch,
    why_unreadable,
    why_unsuitable,
)
from doctor.host import Found, Identity, Reading, RegistryValue
from doctor.models import Evidence, Finding, Fix, Status
from doctor.probes.folders import ENVIRONMENT, Folder
from doctor.probes.packages import TORCH, TorchFacts
from doctor.probes.system import IDENTITY, LONG_PATHS

SHORT = "C:\\aios\\.venv"
# An environment cannot be moved: its programs contain its path
RECREATE = Fix(
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
        summary=f"The packages of this Python are in {path}",
        measured=f"{len(path)} characters",
        expected=f"a short folder of plain letters on a local NTFS volume, such as {SHORT}",
        evidence=tuple(evidence),
    )
    if reason := why_unsuitable(folder):
        return _problem(ok, f"This environment {reason}: {path}")
    if reason := why_unreadable(folder):
        return could_not_look(CHECK.id, f"the volume of {path}", reason)
    if finding := _too_long_for_torch(ok, path, longest_name_in_torch(torch, identity), long_paths):
        return finding
    if not path.isascii():
        return _problem(ok, f"Compilers misread the letters in this environment's path: {path}")
    if " " in path:
        summary = f"This environment's path contains a space, at which some builds split it: {path}"
        return ok.but(status="info", summary=summary)
    return ok


def _problem(ok: Finding, summary: str, status: Status = "warning") -> Finding:
    return ok.but(
        status=status, summary=summary, impact=CHECK.why, hint=CHECK.by_hand, fix=RECREATE, links=LINKS
    )


def _too_long_for_torch(
    ok: Finding, path: str, longest_name: tuple[Version, int] | None, long_paths: Reading[RegistryValue]
) -> Finding | None:
    if longest_name is None:
        return None
    version, longest = longest_name
    limit = LONGEST_PATH - 1 - longest
    if len(path) <= limit or (on := are_long_paths_on(long_paths)):
        return None
    if on is None:
        return cannot_tell_whether_too_long(CHECK.id, path)
    summary = f"torch {version.base_version} does not fit below a path of {len(path)} characters"
    return _problem(ok, summary, "error").but(
        expected=f"at most {limit} characters, or long paths switched on",
        because_of=long_paths_check.CHECK.id,
    )


CHECK = Check(
    id="install-path",
    group="system",
    looks_at="The folder of this Python's packages: its length, letters and volume, and whether it is in OneDrive.",
    why="torch's longest file name must fit below this folder, OneDrive and network drives lock files while pip writes them, and compilers misread letters outside ASCII.",
    by_hand=f"Create a new environment in a short folder on a local drive, such as {SHORT}, and reinstall the packages: an environment cannot be moved.",
    probes=(IDENTITY, TORCH, ENVIRONMENT, LONG_PATHS),
    judge=judge,
    systems=frozenset({"windows"}),
    because_of=(python_distribution.CHECK,),
    at_times_because_of=(long_paths_check.CHECK,),
)
