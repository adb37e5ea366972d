"""Is there a PyTorch for this Python?"""

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


def judge(identity: Identity, torch: TorchFacts) -> Finding:
    version = parse_version(identity.python)
    if version is None:
        return could_not_look(CHECK.id, "the Python version", f"{identity.python!r} is not a version")
    newest = pythons_with_torch()[-1]
    this = f"{identity.python_implementation} {identity.python}" + (
        " (free-threaded)" if identity.python_free_threaded else ""
    )
    problem = None
    if identity.python_implementation != "CPython":
        problem = f"PyTorch is built for CPython, and this is {this}"
    elif version < Version(OLDEST):
        problem = f"Python {identity.python} is too old: aios needs {OLDEST} or newer"
    finding = Finding(
        check=CHECK.id,
        status="ok",
        summary=f"Python {identity.python} is served by PyTorch and flash-attn builds",
        measured=this,
        expected=f"CPython {OLDEST} to {newest}; {BEST_COVERED} has the most prebuilt packages",
        evidence=(Evidence(source="identity", name="Python", value=this),),
    )
    advice = {"impact": CHECK.why, "hint": CHECK.by_hand, "links": ("https://www.python.org/downloads/",)}
    if problem:
        return finding.model_copy(update={"status": "error", "summary": problem, **advice})
    if Version(minor(version)) > Version(newest):
        problem = f"Python {identity.python} is newer than any known CUDA build of PyTorch (up to {newest})"
        if not torch.installed:  # that is why
            return finding.model_copy(update={"status": "error", "summary": problem, **advice})
    elif identity.python_free_threaded:
        problem = "This Python is free-threaded, and few GPU packages are built for that"
    if problem:
        return finding.model_copy(update={"status": "warning", "summary": problem, **advice})
    return finding


CHECK = Check(
    id="python-version",
    group="system",
    looks_at="The version and the kind of the Python that runs aios, and whether it has a torch.",
    why="Prebuilt torch, flash-attn and xformers exist for some Python versions only; for the others pip finds nothing or starts to compile.",
    by_hand="Install CPython 3.12 (64-bit) beside this one, and make the virtual environment anew with it.",
    probes=(IDENTITY, TORCH),
    judge=judge,
)
