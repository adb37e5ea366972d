"""Are this Python's headers installed, which compilers need?"""

from __future__ import annotations

from collections.abc import Mapping

from doctor.check import Check
from doctor.checks.shared import could_not_look
from doctor.host import Absent, Found, Identity, Reading, Unreadable
from doctor.models import Evidence, Finding, Fix
from doctor.probes.packages import TRITON, TritonFacts
from doctor.probes.python import HEADERS
from doctor.probes.system import IDENTITY


def judge(headers: Mapping[str, Reading[str]], triton: TritonFacts, identity: Identity) -> Finding:
    for path, file in headers.items():
        if isinstance(file, Unreadable):
            return could_not_look(CHECK.id, path, file.reason)
    missing = [path for path, file in headers.items() if isinstance(file, Absent)]
    finding = Finding(
        check=CHECK.id,
        status="ok",
        summary="This Python's headers are installed",
        measured=f"missing: {', '.join(missing)}" if missing else "none missing",
        expected=" and ".join(headers),
        evidence=tuple(
            Evidence(source="file", name=path, value=None if path in missing else "there") for path in headers
        ),
    )
    if not missing:
        return finding
    problem = finding.but(
        status="warning" if isinstance(triton.triton_windows, Found) else "info",
        summary="This Python's headers are missing: Triton and builds from source need them",
        impact=CHECK.why,
    )
    if identity.os != "linux":
        return problem.but(hint=CHECK.by_hand)
    fix = Fix(
        id="install-python-headers",
        applicability="manual",
        elevated=True,
        commands=(f"sudo apt install python{identity.python_minor}-dev",),
    )
    return problem.but(hint="Install the package with this Python's headers.", fix=fix)


CHECK = Check(
    id="python-headers",
    group="system",
    looks_at="Python.h and, on Windows, the import library in `libs`, in the Python that the environment was created with.",
    why="Triton compiles a small launcher at run time. Without the headers it fails with \"Cannot open include file: 'Python.h'\", and so does every build from source.",
    by_hand="Install the full CPython and recreate the environment with it. For an embeddable Python, copy the folders Include and libs of exactly the same version next to python.exe.",
    probes=(HEADERS, TRITON, IDENTITY),
    judge=judge,
)
