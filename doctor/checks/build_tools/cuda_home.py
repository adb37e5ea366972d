"""Would a build take the CUDA toolkit that torch needs?"""

from __future__ import annotations

from doctor.actions import SetUserEnvironmentVariable
from doctor.check import Check
from doctor.checks.build_tools import cuda_toolkit
from doctor.checks.build_tools.build_relevance import as_needed
from doctor.checks.packages import torch_cuda_build
from doctor.checks.shared import (
    cannot_tell,
    could_not_look,
    dotted,
    skipped,
    skipped_without_nvidia,
    torch_is,
)
from doctor.checks.system.variable_fixes import SIGN_OUT, set_for_user
from doctor.host import Absent, Found, Identity, RegistryValue, Unreadable
from doctor.models import Evidence, Finding, Fix
from doctor.probes.cuda import CUDA, CudaFacts, Toolkit
from doctor.probes.nvidia import NVIDIA, NvidiaFacts
from doctor.probes.packages import FLASH_ATTN, TORCH, FlashAttnFacts, TorchFacts
from doctor.probes.system import IDENTITY
from wheels.compatibility import cuda_of_tag

LINK = "https://docs.pytorch.org/docs/stable/cpp_extension.html"
Version = tuple[int, int]


def judge(
    cuda: CudaFacts, identity: Identity, nvidia: NvidiaFacts, torch: TorchFacts, flash_attn: FlashAttnFacts
) -> Finding:
    if without := skipped_without_nvidia(CHECK.id, nvidia):
        return without
    this = torch_is(torch)
    if this is not None and this.cuda_tag is None:
        return skipped(CHECK.id, "torch is a CPU build, and looks at no toolkit (see torch-cuda-build)")
    variables = {"CUDA_HOME": cuda.cuda_home, "CUDA_PATH": cuda.cuda_path}
    # torch takes the first that is set
    variable = next((name for name, value in variables.items() if value), None)
    finding = Finding(
        check=CHECK.id,
        status="ok",
        summary=f"A build would take the toolkit in {cuda.chosen}",
        measured=", ".join(f"{name} is {value or 'not set'}" for name, value in variables.items()),
        expected="CUDA_HOME or CUDA_PATH names the toolkit of torch's CUDA version",
        evidence=tuple(
            Evidence(source="environment", name=name, value=value) for name, value in variables.items()
        ),
    )
    wanted = cuda_of_tag(this.cuda_tag) if this is not None and this.cuda_tag else None
    better = fitting(cuda, wanted)
    taken = cuda.chosen_toolkit

    def trouble(summary: str) -> Finding:
        update = {
            "summary": summary,
            "impact": CHECK.why,
            "hint": f"Set CUDA_HOME to {better.path} for the build." if better else CHECK.by_hand,
            "links": (LINK,),
            "fix": _name(better, identity) if better else None,
        }
        return as_needed(finding.model_copy(update=update), nvidia, torch, flash_attn)

    if variable and '"' in str(variables[variable]):
        return trouble(f"{variable} is in quotes, which builds take for a part of it: {variables[variable]}")
    if taken is not None and isinstance(taken.nvcc, Unreadable):
        return could_not_look(CHECK.id, f"{variable or 'the toolkit'} ({taken.path})", taken.nvcc.reason)
    if variable and (taken is None or isinstance(taken.nvcc, Absent)):
        if not cuda.versions:
            return skipped(CHECK.id, "no CUDA toolkit has an nvcc (see cuda-toolkit)")
        return trouble(f"{variable} points to {variables[variable]}, where there is no nvcc")
    if taken is None or not isinstance(taken.nvcc, Found):
        if cuda.unreadable:
            return cannot_tell(CHECK.id, "where CUDA toolkits are", "; ".join(cuda.unreadable))
        return skipped(CHECK.id, "there is no CUDA toolkit")
    if better is not None and wanted is not None and taken.nvcc.value[0] != wanted[0]:
        version = dotted(taken.nvcc.value)
        return trouble(f"A build would take CUDA {version} in {taken.path}, and not the one that fits {this}")
    return finding


def fitting(cuda: CudaFacts, wanted: Version | None) -> Toolkit | None:
    """The toolkit to build with for this CUDA version: of the same major, the same minor before the newest."""
    usable = [
        (toolkit.nvcc.value == wanted, toolkit.nvcc.value, toolkit)
        for toolkit in cuda.toolkits
        if wanted and isinstance(toolkit.nvcc, Found) and toolkit.nvcc.value[0] == wanted[0]
    ]
    return max(usable, key=lambda one: one[:2])[2] if usable else None


def _name(toolkit: Toolkit, identity: Identity) -> Fix | None:
    """Have CUDA_HOME name the toolkit."""
    if identity.os != "windows":
        return None
    state = RegistryValue(type="REG_SZ", value=toolkit.path.rstrip("\\"))
    return Fix(
        id="set-cuda-home",
        applicability="unsafe",  # other projects may build with another toolkit
        restart="shell",
        commands=(set_for_user("CUDA_HOME", state), SIGN_OUT),
        actions=(SetUserEnvironmentVariable(name="CUDA_HOME", state=state),),
    )


CHECK = Check(
    id="cuda-home",
    group="build-tools",
    looks_at="CUDA_HOME, CUDA_PATH and the other toolkits, in the order in which PyTorch's build tools take one: without a variable the first by name, v11.8 before v12.8.",
    why="With several toolkits, or a variable left over from an old one, a build silently takes the wrong nvcc.",
    by_hand="Set CUDA_HOME to the toolkit of your PyTorch's CUDA version, in the terminal that builds; remove variables that point nowhere.",
    probes=(CUDA, IDENTITY, NVIDIA, TORCH, FLASH_ATTN),
    judge=judge,
    because_of=(cuda_toolkit.CHECK, torch_cuda_build.CHECK),
)
