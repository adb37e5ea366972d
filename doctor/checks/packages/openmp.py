"""Would two OpenMP runtimes meet in one process?"""

from __future__ import annotations

from doctor.check import Check
from doctor.checks.packages import torch as torch_check
from doctor.checks.shared import NO_ADVICE, could_not_look, skipped_without_torch, why_not
from doctor.host import Found
from doctor.models import Evidence, Finding
from doctor.probes.dll_copies import OPENMP, OpenMpFacts
from doctor.probes.packages import TORCH, TorchFacts

WINDOWS_FAQ = "https://docs.pytorch.org/docs/stable/notes/windows.html"


def judge(openmp: OpenMpFacts, torch: TorchFacts) -> Finding:
    if without := skipped_without_torch(CHECK.id, torch):
        return without
    if not isinstance(openmp.copies, Found):
        return could_not_look(CHECK.id, "torch\\lib", why_not(openmp.copies))
    copies = openmp.copies.value
    finding = Finding(
        check=CHECK.id,
        status="ok",
        summary="One OpenMP runtime" if copies else "No second OpenMP runtime beside torch's",
        measured=f"libiomp5md.dll in {', '.join(copies) or 'no folder'}",
        expected="one copy in all",
        impact=CHECK.why,
        hint=CHECK.by_hand,
        evidence=(
            Evidence(source="file", name="folders with libiomp5md.dll", value=list(copies)),
            Evidence(source="environment", name="KMP_DUPLICATE_LIB_OK", value=openmp.duplicates_allowed),
        ),
    )
    if len(copies) < 2:
        return finding.model_copy(update=NO_ADVICE)
    summary = f"{len(copies)} copies of Intel's OpenMP runtime: {', '.join(copies)}"
    if not openmp.conda:  # pip's intel-openmp: nothing loads it unless a package was built with MKL
        return finding.model_copy(update={"status": "info", "summary": summary, "links": (WINDOWS_FAQ,)})
    return finding.model_copy(update={"status": "warning", "summary": summary, "links": (WINDOWS_FAQ,)})


CHECK = Check(
    id="openmp",
    group="packages",
    looks_at="Copies of libiomp5md.dll in torch\\lib and in Library\\bin of the environment.",
    why="Two OpenMP runtimes in one process end it with 'OMP: Error #15: Initializing libiomp5md.dll, but found libiomp5md.dll already initialized'.",
    by_hand="Make an environment in which numpy comes from pip, or from conda with nomkl. KMP_DUPLICATE_LIB_OK=TRUE only hides the clash, and may give wrong results.",
    probes=(OPENMP, TORCH),
    judge=judge,
    systems=frozenset({"windows"}),
    because_of=(torch_check.CHECK,),
)
