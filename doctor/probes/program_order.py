"""Which git and which python the folders of PATH contain, in its order."""

from __future__ import annotations

from dataclasses import dataclass

from doctor.check import Probe
from doctor.host import Found, Reader
from doctor.probes.dll_copies import path_folders
from doctor.probes.paths import join


@dataclass(frozen=True)
class ProgramOrderFacts:
    """The programs of one name on PATH.

    Attributes:
        path: whether PATH is set.
        git: the folders that contain git on Windows, in the order of PATH.
        python: those that contain python.
        active: the environment that is activated in this terminal (VIRTUAL_ENV).
        scripts: the folder of this environment's programs.
    """

    path: bool
    git: tuple[str, ...]
    python: tuple[str, ...]
    active: str | None
    scripts: str


def _program_order(host: Reader) -> ProgramOrderFacts:
    windows = host.identity.os == "windows"
    folders = (
        path_folders(host)
        if windows
        else [f for f in (host.variable("PATH") or "").split(":") if f.startswith("/")]
    )
    programs: dict[str, list[str]] = {"git": [], "python": []}
    for folder in folders:
        listed = host.list_directory(folder)
        names = set(map(str.lower, listed.value)) if isinstance(listed, Found) else set()
        for name, found in programs.items():
            if (f"{name}.exe" if windows else name) in names:
                found.append(folder)
    scripts = join(host, host.identity.prefix, "Scripts" if windows else "bin")
    git = tuple(programs["git"]) if windows else ()
    return ProgramOrderFacts(
        bool(host.variable("PATH")), git, tuple(programs["python"]), host.variable("VIRTUAL_ENV"), scripts
    )


PROGRAM_ORDER = Probe("program-order", _program_order)
