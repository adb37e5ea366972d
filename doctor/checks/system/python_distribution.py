"""Who made this Python, and what does that mean for installing packages?"""

from __future__ import annotations

from doctor.check import Check
from doctor.checks.shared import could_not_look, why_not
from doctor.checks.system import python_version
from doctor.checks.system.folder_rules import LONGEST_PATH, are_long_paths_on, longest_name_in_torch
from doctor.host import Found, Reading, RegistryValue, Unreadable
from doctor.models import Evidence, Finding
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
        summary="",
        measured=f"Python in {identity.base_prefix}",
        expected="a full installation of CPython that lets pip install packages",
        evidence=(Evidence(source="identity", name="base prefix", value=identity.base_prefix),),
    )

    def found(status: str, summary: str, hint: str, link: str) -> Finding:
        update = {"status": status, "summary": summary, "impact": CHECK.why, "hint": hint, "links": (link,)}
        return ok.model_copy(update=update)

    if identity.python_implementation != "CPython":
        return found("error", f"This is {identity.python_implementation}", CHECK.by_hand, DOWNLOADS)
    if python.is_from_store:
        too_long = _too_long(python, torch, long_paths)
        return found(
            "error" if too_long else "warning",
            too_long
            or "A Python from the Microsoft Store: what it writes to AppData and the registry stays its own",
            CHECK.by_hand,
            STORE_LIMITS,
        )
    if not isinstance(python.base_names, Found):
        reason = why_not(python.base_names, "it is gone")
        return could_not_look(CHECK.id, f"this Python's folder {identity.base_prefix}", reason)
    names = {name.lower() for name in python.base_names.value}
    if any(name.startswith("python") and name.endswith("._pth") for name in names):
        return found(
            "info",
            "An embeddable Python, made to be a part of one program: it has no venv and no headers",
            CHECK.by_hand,
            DOWNLOADS,
        )
    if "conda-meta" in names:
        if python.in_virtual_environment:
            return ok.model_copy(update={"summary": "A virtual environment made with conda's Python"})
        if "condabin" in names:
            return found(
                "warning",
                "This is conda's base environment: packages that pip puts here can break conda itself",
                f"Make an environment of its own: conda create -n aios python={python_version.BEST_COVERED} - and install with pip inside it.",
                CONDA,
            )
        summary = "A conda environment: install PyTorch by pip, its conda channel ended with 2.5"
        return ok.model_copy(update={"status": "info", "summary": summary, "links": (CONDA,)})
    if isinstance(python.externally_managed, Found) and not python.in_virtual_environment:
        return found(
            "warning",
            "This Python belongs to another tool, and pip refuses to install into it",
            "Make a virtual environment, and run aios there: python3 -m venv .venv",
            PEP_668,
        )
    if isinstance(python.externally_managed, Unreadable):
        return could_not_look(
            CHECK.id, "whether this Python takes packages", python.externally_managed.reason
        )
    made_by_uv = "/uv/python/" in identity.base_prefix.replace("\\", "/")
    summary = "A Python installed by uv" if made_by_uv else f"A full Python in {identity.base_prefix}"
    return ok.model_copy(update={"summary": summary})


def _too_long(python: PythonFacts, torch: TorchFacts, long_paths: Reading[RegistryValue]) -> str | None:
    """What does not fit below the Store's site-packages; None where it fits, or where long paths are on."""
    if are_long_paths_on(long_paths) is not False:
        return None
    named = longest_name_in_torch(torch, python.identity)
    if named is None:
        return None
    version, longest = named
    folder = python.identity.site_packages
    length = len(folder) + 1 + longest
    if length <= LONGEST_PATH:
        return None
    return (
        f"torch {version.base_version} does not fit below the folder of this Microsoft Store Python: "
        f"{len(folder)} + 1 + {longest} = {length} characters, {LONGEST_PATH} are allowed"
    )


CHECK = Check(
    id="python-distribution",
    group="system",
    looks_at="Where this Python comes from: python.org, the Microsoft Store, conda, uv, the system, an embeddable package.",
    why="Some Pythons do not take packages, put them where paths grow too long, or keep what the doctor sets to themselves.",
    by_hand="Install CPython 3.12 (64-bit) from python.org, and make the virtual environment anew with it, in a folder with a short path.",
    probes=(PYTHON, TORCH, LONG_PATHS),
    judge=judge,
    because_of=(python_version.CHECK,),
)
