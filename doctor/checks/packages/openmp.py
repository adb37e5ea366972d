"""Could one process load two OpenMP runtimes?"""

from __future__ import annotations

from doctor.check import Check
from doctor.checks.packages import torch as torch_check
from doctor.checks.requires import TORCH_INSTALLED, present
from doctor.checks.shared import value_of
from doctor.models import Evidence, Finding
from doctor.probes.dll_copies import OPENMP, OpenMpFacts

WINDOWS_FAQ = "https://docs.pytorch.org/docs/stable/notes/windows.html"


def judge(openmp: OpenMpFacts) -> Finding:
    copies = value_of(openmp.copies)
    finding = Finding(
        check=CHECK.id,
        status="ok",
        summary="One OpenMP runtime" if copies else "No second OpenMP runtime beside torch's",
        measured=f"libiomp5md.dll in {', '.join(copies) or 'no folder'}",
        expected="at most one copy",
        evidence=(
            Evidence(source="file", name="folders with libiomp5md.dll", value=list(copies)),
            Evidence(source="environment", name="KMP_DUPLICATE_LIB_OK", value=openmp.duplicates_allowed),
        ),
    )
    if len(copies) < 2:
        return finding
    # A pip environment gets its second copy from intel-openmp, which only packages built with MKL load
    return finding.but(
        status="warning" if openmp.conda else "info",
        summary=f"{len(copies)} copies of Intel's OpenMP runtime: {', '.join(copies)}",
        impact=CHECK.why,
        hint=CHECK.by_hand,
        links=(WINDOWS_FAQ,),
    )


CHECK = Check(
    id="openmp",
    group="packages",
    looks_at="Copies of libiomp5md.dll in torch\\lib and in Library\\bin of the environment.",
    why="A process that loads two OpenMP runtimes ends with 'OMP: Error #15: Initializing libiomp5md.dll, but found libiomp5md.dll already initialized'.",
    by_hand="Create an environment in which numpy comes from pip, or from conda with nomkl. KMP_DUPLICATE_LIB_OK=TRUE only hides the conflict and can give wrong results.",
    probes=(OPENMP,),
    judge=judge,
    systems=frozenset({"windows"}),
    because_of=(torch_check.CHECK,),
    requires=(TORCH_INSTALLED, present(OPENMP, "torch\\lib", lambda openmp: openmp.copies)),
)
