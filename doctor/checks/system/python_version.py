"""Does PyTorch support this Python version?"""

from __future__ import annotations

from packaging.version import Version

from doctor.check import Check
from doctor.checks.shared import could_not_look
from doctor.host import Identity
from doctor.models import Evidence, Finding
from doctor.probes.packages import TORCH, TorchFacts
from doctor.probes.system import IDENTITY
from wheels.compatibility import minor, parse_version, pythons_with_torch

OLDEST = "3.10"  # pyproject.toml: requires-python
BEST_COVERED = "3.12"
OF_AN_APPLICATION = f"Install a newer version of the application, or recreate this environment with CPython {BEST_COVERED} (64-bit)."


def judge(identity: Identity, torch: TorchFacts) -> Finding:
    version = parse_version(identity.python)
    if version is None:
        return could_not_look(CHECK.id, "the Python version", f"{identity.python!r} is not a version")
    newest = pythons_with_torch()[-1]
    this = f"{identity.python_implementation} {identity.python}"
    if identity.python_free_threaded:
        this += " (free-threaded)"
    finding = Finding(
        check=CHECK.id,
        status="ok",
        summary=f"PyTorch and flash-attn have builds for Python {identity.python}",
        measured=this,
        expected=f"CPython {OLDEST} to {newest}; {BEST_COVERED} has the most prebuilt packages",
        evidence=(Evidence(source="identity", name="Python", value=this),),
    )
    hint = OF_AN_APPLICATION if identity.other_python else CHECK.by_hand
    problem = finding.but(impact=CHECK.why, hint=hint, links=("https://www.python.org/downloads/",))
    if identity.python_implementation != "CPython":
        return problem.but(status="error", summary=f"PyTorch is built for CPython, and this is {this}")
    if version < Version(OLDEST):
        if identity.other_python:
            summary = f"Python {identity.python} is old: the newest PyTorch needs {OLDEST} or newer"
            return problem.but(status="warning", summary=summary)
        summary = f"Python {identity.python} is too old: aios needs {OLDEST} or newer"
        return problem.but(status="error", summary=summary)
    if Version(minor(version)) > Version(newest):
        summary = f"Python {identity.python} is newer than any known CUDA build of PyTorch (up to {newest})"
        # Without torch this is the reason why it cannot be installed
        return problem.but(status="warning" if torch.installed else "error", summary=summary)
    if identity.python_free_threaded:
        summary = "This Python is free-threaded, and few GPU packages have builds for it"
        return problem.but(status="warning", summary=summary)
    return finding


CHECK = Check(
    id="python-version",
    group="system",
    looks_at="The version and implementation of Python, and whether torch is installed.",
    why="Prebuilt torch, flash-attn and xformers exist for some Python versions only. For others pip finds nothing, or starts to compile.",
    by_hand="Install CPython 3.12 (64-bit) in addition to this one, and recreate the virtual environment with it.",
    probes=(IDENTITY, TORCH),
    judge=judge,
)
