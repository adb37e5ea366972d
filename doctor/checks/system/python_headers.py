"""Are the headers of this Python there, which compilers need?"""

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
        summary="The headers of this Python are installed",
        measured=f"missing: {', '.join(missing)}" if missing else "all there",
        expected=" and ".join(headers),
        evidence=tuple(
            Evidence(source="file", name=path, value=None if path in missing else "there") for path in headers
        ),
    )
    if not missing:
        return finding
    on_linux = identity.os == "linux"
    needed_now = isinstance(triton.triton_windows, Found)
    return finding.model_copy(
        update={
            "status": "warning" if needed_now else "info",
            "summary": "The headers of this Python are missing, which Triton and builds from source need",
            "impact": CHECK.why,
            "hint": "Install the package with the headers of this Python." if on_linux else CHECK.by_hand,
            "fix": Fix(
                id="install-python-headers",
                applicability="manual",
                elevated=True,
                commands=(f"sudo apt install python{identity.python_minor}-dev",),
            )
            if on_linux
            else None,
        }
    )


CHECK = Check(
    id="python-headers",
    group="system",
    looks_at="Python.h and, on Windows, the import library in `libs`, beside the Python that the environment was made with.",
    why="Triton compiles a small launcher when it runs, and stops with \"Cannot open include file: 'Python.h'\"; so does every build from source.",
    by_hand="Install the full CPython and make the environment with it; for an embeddable Python, copy the folders Include and libs of exactly the same version beside python.exe.",
    probes=(HEADERS, TRITON, IDENTITY),
    judge=judge,
)
