"""Are the libraries that torch's own DLLs import complete?"""

from __future__ import annotations

from doctor.check import Check
from doctor.checks.packages import torch as torch_check
from doctor.checks.packages import torch_cuda_build
from doctor.checks.requires import TORCH_INSTALLED, known_torch, present
from doctor.checks.shared import PYTORCH, several, value_of
from doctor.host import Reading
from doctor.models import Evidence, Finding
from doctor.probes.packages import TORCH, TorchFacts
from doctor.probes.torch_dlls import TORCH_DLLS, TorchDlls


def judge(reading: Reading[TorchDlls], torch: TorchFacts) -> Finding:
    dlls, build = value_of(reading), value_of(torch.build)
    finding = Finding(
        check=CHECK.id,
        status="ok",
        summary=f"The libraries of {build} are complete",
        measured=", ".join(dlls.missing) or "no library is missing",
        expected="every library that torch\\lib imports",
        evidence=(
            *(
                Evidence(source="file", name=f"{user} imports", value=name)
                for name, user in dlls.missing.items()
            ),
            *(
                Evidence(source="file", name=name, value=f"unreadable: {why}")
                for name, why in dlls.unreadable.items()
            ),
        ),
    )
    if dlls.missing:
        needed_by = next(iter(dlls.missing.values()))
        nightly = " This is a nightly build: install another one." if build.version.is_devrelease else ""
        return finding.but(
            status="error",
            summary=f"{build} does not load: {several(list(dlls.missing), 3)} missing, which {needed_by} imports",
            impact=CHECK.why,
            hint=f"{CHECK.by_hand}{nightly}",
            links=(PYTORCH,),
        )
    if dlls.unreadable:
        name, why = next(iter(dlls.unreadable.items()))
        return finding.but(
            status="info",
            summary=f"No library of {build} is known to be missing, but the imports of {name} could not be read: {why}",
        )
    return finding


CHECK = Check(
    id="torch-libraries",
    group="packages",
    looks_at="The libraries that c10, torch_cpu, torch_python, torch_cuda and shm in torch\\lib import, in torch\\lib, beside python.exe, in the environment's Library\\bin and in System32.",
    why="`import torch` fails with '[WinError 126] The specified module could not be found' if one of its libraries is missing.",
    by_hand="Reinstall torch with --force-reinstall --no-cache-dir. If the file is missing again, that build lacks it: install another release.",
    probes=(TORCH_DLLS, TORCH),
    judge=judge,
    systems=frozenset({"windows"}),
    because_of=(torch_check.CHECK, torch_cuda_build.CHECK),
    requires=(
        TORCH_INSTALLED,
        known_torch("which libraries torch needs"),
        present(TORCH_DLLS, "torch\\lib"),
    ),
)
