"""Which distribution of Python is this, and can packages be installed into it?"""

from __future__ import annotations

from doctor.check import Check
from doctor.checks.shared import cannot_tell, could_not_look, why_not
from doctor.checks.system import python_version
from doctor.checks.system.folder_rules import LONGEST_PATH, are_long_paths_on, longest_name_in_torch
from doctor.host import Found, Reading, RegistryValue, Unreadable
from doctor.models import Evidence, Finding, Status
from doctor.probes.packages import TORCH, TorchFacts
from doctor.probes.python import PYTHON, PythonFacts
from doctor.probes.system import LONG_PATHS

DOWNLOADS = "https://www.python.org/downloads/"
STORE_LIMITS = "https://docs.python.org/3/using/windows.html"
CONDA = "https://docs.conda.io/projects/conda/en/latest/user-guide/tasks/manage-environments.html"
PEP_668 = "https://packaging.python.org/en/latest/specifications/externally-managed-environments/"


def judge(python: PythonFacts, torch: TorchFacts, long_paths: Reading[RegistryValue]) -> Finding:
    identity = python.identity
    ok = Finding(
        check=CHECK.id,
        status="ok",
        summary=f"A full Python in {identity.base_prefix}",
        measured=f"Python in {identity.base_prefix}",
        expected="a full installation of CPython that lets pip install packages",
        evidence=(Evidence(source="identity", name="base prefix", value=identity.base_prefix),),
    )
    if identity.python_implementation != "CPython":
        return _problem(ok, "error", f"This is {identity.python_implementation}, not CPython", DOWNLOADS)
    if python.is_from_store:
        if too_long := _too_long(python, torch, long_paths):
            return _problem(ok, "error", too_long, STORE_LIMITS)
        summary = "A Python from the Microsoft Store: what it writes to AppData and the registry is hidden from other programs"
        return _problem(ok, "warning", summary, STORE_LIMITS)
    if not isinstance(python.base_names, Found):
        reason = why_not(python.base_names, "it no longer exists")
        return could_not_look(CHECK.id, f"this Python's folder {identity.base_prefix}", reason)
    names = {name.lower() for name in python.base_names.value}
    if any(name.startswith("python") and name.endswith("._pth") for name in names):
        summary = "An embeddable Python, made to be shipped inside a program: it has no venv and no headers"
        return _problem(ok, "info", summary, DOWNLOADS)
    if "conda-meta" in names:
        return _conda(ok, python, is_base="condabin" in names)
    return _externally_managed(ok, python) or _by_uv(ok, identity.base_prefix) or ok


def _problem(ok: Finding, status: Status, summary: str, link: str, hint: str = "") -> Finding:
    return ok.but(status=status, summary=summary, impact=CHECK.why, hint=hint or CHECK.by_hand, links=(link,))


def _conda(ok: Finding, python: PythonFacts, is_base: bool) -> Finding:
    if python.in_virtual_environment:
        return ok.but(summary="A virtual environment made with conda's Python")
    if is_base:
        summary = "This is conda's base environment: packages that pip installs here can break conda itself"
        hint = f"Create a separate environment: conda create -n aios python={python_version.BEST_COVERED} - and install into it with pip."
        return _problem(ok, "warning", summary, CONDA, hint)
    summary = "A conda environment: install PyTorch with pip, because its conda channel ended with 2.5"
    return ok.but(status="info", summary=summary, links=(CONDA,))


def _externally_managed(ok: Finding, python: PythonFacts) -> Finding | None:
    if isinstance(python.externally_managed, Found) and not python.in_virtual_environment:
        summary = "This Python is managed by another tool, and pip refuses to install into it"
        hint = "Create a virtual environment and run aios in it: python3 -m venv .venv"
        return _problem(ok, "warning", summary, PEP_668, hint)
    if isinstance(python.externally_managed, Unreadable):
        reason = python.externally_managed.reason
        return cannot_tell(CHECK.id, "whether pip can install into this Python", reason)
    return None


def _by_uv(ok: Finding, base_prefix: str) -> Finding | None:
    is_from_uv = "/uv/python/" in base_prefix.replace("\\", "/")
    return ok.but(summary="A Python installed by uv") if is_from_uv else None


def _too_long(python: PythonFacts, torch: TorchFacts, long_paths: Reading[RegistryValue]) -> str | None:
    """Return why torch does not fit below the Store's site-packages; None if it fits, or with long paths on."""
    if are_long_paths_on(long_paths) is not False:
        return None
    longest_name = longest_name_in_torch(torch, python.identity)
    if longest_name is None:
        return None
    version, longest = longest_name
    folder = python.identity.site_packages
    length = len(folder) + 1 + longest
    if length <= LONGEST_PATH:
        return None
    return (
        f"torch {version.base_version} does not fit below the folder of this Microsoft Store Python: "
        f"{len(folder)} + 1 + {longest} = {length} characters; the limit is {LONGEST_PATH}"
    )


CHECK = Check(
    id="python-distribution",
    group="system",
    looks_at="Where this Python comes from: python.org, the Microsoft Store, conda, uv, the system, an embeddable package.",
    why="Some Pythons do not let pip install packages, install them in folders whose paths are too long, or hide settings from other programs.",
    by_hand="Install CPython 3.12 (64-bit) from python.org, and recreate the virtual environment with it, in a folder with a short path.",
    probes=(PYTHON, TORCH, LONG_PATHS),
    judge=judge,
    because_of=(python_version.CHECK,),
)
