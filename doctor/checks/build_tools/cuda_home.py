"""Would a build use the CUDA toolkit that torch needs?"""

from __future__ import annotations

from doctor.actions import SetUserEnvironmentVariable
from doctor.check import Check, Requirement
from doctor.checks.build_tools import cuda_toolkit
from doctor.checks.build_tools.build_relevance import with_build_severity
from doctor.checks.packages import torch_cuda_build
from doctor.checks.requires import NVIDIA_GPU
from doctor.checks.shared import (
    cannot_tell,
    could_not_look,
    dotted,
    skipped,
    torch_is,
)
from doctor.checks.system.variable_fixes import SIGN_OUT, set_for_user
from doctor.host import Absent, Found, Identity, RegistryValue, Unreadable
from doctor.models import Evidence, Finding, Fix
from doctor.probes.cuda import CUDA, CudaFacts, Toolkit
from doctor.probes.nvidia import NVIDIA, NvidiaFacts
from doctor.probes.packages import FLASH_ATTN, TORCH, FlashAttnFacts, TorchFacts
from doctor.probes.system import IDENTITY
from wheels.machine import TorchBuild

LINK = "https://docs.pytorch.org/docs/stable/cpp_extension.html"
Version = tuple[int, int]


def judge(
    cuda: CudaFacts, identity: Identity, nvidia: NvidiaFacts, torch: TorchFacts, flash_attn: FlashAttnFacts
) -> Finding:
    this = torch_is(torch)
    variables = {"CUDA_HOME": cuda.cuda_home, "CUDA_PATH": cuda.cuda_path}
    finding = Finding(
        check=CHECK.id,
        status="ok",
        summary=f"A build would use the toolkit in {cuda.chosen}",
        measured=", ".join(f"{name} is {value or 'not set'}" for name, value in variables.items()),
        expected="CUDA_HOME or CUDA_PATH names the toolkit of torch's CUDA version",
        evidence=tuple(
            Evidence(source="environment", name=name, value=value) for name, value in variables.items()
        ),
    )
    # torch uses the first variable that is set
    name = next((name for name, value in variables.items() if value), None)
    verdict = _verdict(cuda, this, name, variables.get(name or "") or "")
    if verdict is None or isinstance(verdict, Finding):
        return verdict or finding
    better = fitting(cuda, this.cuda if this else None)
    problem = finding.but(
        summary=verdict,
        impact=CHECK.why,
        hint=f"Set CUDA_HOME to {better.path} for the build." if better else CHECK.by_hand,
        links=(LINK,),
        fix=_set_cuda_home(better, identity) if better else None,
    )
    return with_build_severity(problem, nvidia, torch, flash_attn)


def _verdict(cuda: CudaFacts, this: TorchBuild | None, name: str | None, value: str) -> Finding | str | None:
    """Return what is wrong with the toolkit a build would use (a summary), or why that cannot be judged (a finding)."""
    toolkit = cuda.chosen_toolkit
    if '"' in value:
        return f"{name} contains quotes, which builds take for part of the path: {value}"
    if toolkit is not None and isinstance(toolkit.nvcc, Unreadable):
        return could_not_look(CHECK.id, f"{name or 'the toolkit'} ({toolkit.path})", toolkit.nvcc.reason)
    if name and (toolkit is None or isinstance(toolkit.nvcc, Absent)):
        if not cuda.versions:
            return skipped(CHECK.id, "no CUDA toolkit has an nvcc (see cuda-toolkit)")
        return f"{name} points to {value}, which contains no nvcc"
    if toolkit is None or not isinstance(toolkit.nvcc, Found):
        if cuda.unreadable:
            return cannot_tell(CHECK.id, "where CUDA toolkits are", "; ".join(cuda.unreadable))
        return skipped(CHECK.id, "there is no CUDA toolkit")
    if this is None or this.cuda is None or toolkit.nvcc.value[0] == this.cuda[0]:
        return None
    if fitting(cuda, this.cuda) is None:
        return None
    version = dotted(toolkit.nvcc.value)
    return f"A build would use CUDA {version} in {toolkit.path}, not the installed toolkit that fits {this}"


def fitting(cuda: CudaFacts, wanted: Version | None) -> Toolkit | None:
    """Return the toolkit to build with for a CUDA version: the same version, else the newest with the same major."""
    usable = [
        (toolkit.nvcc.value == wanted, toolkit.nvcc.value, toolkit)
        for toolkit in cuda.toolkits
        if wanted and isinstance(toolkit.nvcc, Found) and toolkit.nvcc.value[0] == wanted[0]
    ]
    return max(usable, key=lambda one: one[:2])[2] if usable else None


def _set_cuda_home(toolkit: Toolkit, identity: Identity) -> Fix | None:
    """Set CUDA_HOME to the toolkit."""
    if identity.os != "windows":
        return None
    state = RegistryValue(type="REG_SZ", value=toolkit.path.rstrip("\\"))
    return Fix(
        id="set-cuda-home",
        applicability="unsafe",  # other projects may need another toolkit
        restart="shell",
        commands=(set_for_user("CUDA_HOME", state), SIGN_OUT),
        actions=(SetUserEnvironmentVariable(name="CUDA_HOME", state=state),),
    )


def _cpu_torch(check: str, torch: TorchFacts) -> Finding | None:
    this = torch_is(torch)
    if this is not None and this.cuda_tag is None:
        return skipped(check, "torch is a CPU build, which needs no toolkit (see torch-cuda-build)")
    return None


CHECK = Check(
    id="cuda-home",
    group="build-tools",
    looks_at="CUDA_HOME, CUDA_PATH and the other toolkits, in the order PyTorch's build tools search them: without a variable, the first by name (v11.8 before v12.8).",
    why="With several toolkits, or a variable that still names an old one, a build silently uses the wrong nvcc.",
    by_hand="Set CUDA_HOME to the toolkit of your PyTorch's CUDA version, in the terminal that builds. Remove variables that name missing toolkits.",
    probes=(CUDA, IDENTITY, NVIDIA, TORCH, FLASH_ATTN),
    judge=judge,
    requires=(NVIDIA_GPU, Requirement((TORCH,), _cpu_torch)),
    because_of=(cuda_toolkit.CHECK, torch_cuda_build.CHECK),
)
