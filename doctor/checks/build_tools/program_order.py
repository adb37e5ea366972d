"""Are git, python and nvcc the right ones, where PATH contains several?"""

from __future__ import annotations

import re

from doctor.check import Check, Requirement
from doctor.checks.build_tools.build_relevance import with_build_severity
from doctor.checks.shared import dotted, skipped, torch_is
from doctor.host import Found, Identity
from doctor.models import Evidence, Finding
from doctor.probes.cuda import CUDA, CudaFacts, same_path
from doctor.probes.nvidia import NVIDIA, NvidiaFacts
from doctor.probes.packages import FLASH_ATTN, TORCH, FlashAttnFacts, TorchFacts
from doctor.probes.program_order import PROGRAM_ORDER, ProgramOrderFacts
from doctor.probes.system import IDENTITY
from wheels.machine import TorchBuild

LINKS = ("https://github.com/pypa/pip/issues/4895",)
# The git in these folders takes C:\\x for a file name, or has no helper for https
UNIX_LIKE = re.compile(r"[\\/](cygwin|msys)\w*[\\/]", re.IGNORECASE)


def judge(
    order: ProgramOrderFacts,
    cuda: CudaFacts,
    nvidia: NvidiaFacts,
    torch: TorchFacts,
    flash_attn: FlashAttnFacts,
    identity: Identity,
) -> Finding:
    finding = Finding(
        check=CHECK.id,
        status="ok",
        summary="PATH finds the right git, python and nvcc first",
        measured=f"git in {order.git[0] if order.git else 'no folder'}, python in {order.python[0] if order.python else 'no folder'}",
        expected="no other git, python or nvcc before the right one",
        evidence=(
            Evidence(source="environment", name="folders with git", value=list(order.git)),
            Evidence(source="environment", name="folders with python", value=list(order.python)),
        ),
    )
    problem = finding.but(status="warning", impact=CHECK.why, hint=CHECK.by_hand)
    if git := _foreign_git(order):
        first, better = git
        return problem.but(
            summary=f"git on PATH is {first}\\git.exe, before Git for Windows in {better}",
            hint=f"Put {better} before {first} in PATH.",
            links=LINKS,
        )
    if python := _foreign_python(order, identity):
        return problem.but(
            summary=f"python on PATH is in {python}, not in the activated environment {identity.prefix}",
            hint="Activate the environment again, as the last change to PATH; until then, use its python by its full path.",
        )
    if nvcc := _foreign_nvcc(cuda, torch_is(torch)):
        return with_build_severity(problem.but(summary=nvcc), nvidia, torch, flash_attn)
    return finding


def _no_path(check: str, order: ProgramOrderFacts) -> Finding | None:
    return None if order.path else skipped(check, "PATH is not set")


def _foreign_git(order: ProgramOrderFacts) -> tuple[str, str] | None:
    """Return the folder of Cygwin's or MSYS2's git, if it comes first, and that of another git."""
    others = [folder for folder in order.git if not UNIX_LIKE.search(f"{folder}\\")]
    return (order.git[0], others[0]) if others and others[0] != order.git[0] else None


def _foreign_python(order: ProgramOrderFacts, identity: Identity) -> str | None:
    """Return the folder of the python that comes before the one of the activated environment."""
    if not (order.active and same_path(order.active, identity.prefix) and order.python):
        return None
    return None if same_path(order.python[0], order.scripts) else order.python[0]


def _foreign_nvcc(cuda: CudaFacts, torch: TorchBuild | None) -> str | None:
    """Return how the nvcc on PATH differs from the one that torch builds with, if that one fits torch (see cuda-home)."""
    chosen = cuda.chosen_toolkit
    on_path = next((each for each in cuda.toolkits if "PATH" in each.found_by), None)
    if not (chosen and on_path and isinstance(chosen.nvcc, Found) and isinstance(on_path.nvcc, Found)):
        return None
    fits = torch is None or torch.cuda_major == chosen.nvcc.value[0]
    if not fits or chosen.nvcc.value[0] == on_path.nvcc.value[0]:
        return None
    return (
        f"nvcc on PATH is that of CUDA {dotted(on_path.nvcc.value)} in {on_path.path}; "
        f"torch builds with CUDA {dotted(chosen.nvcc.value)} in {chosen.path}"
    )


CHECK = Check(
    id="program-order",
    group="build-tools",
    looks_at="PATH: the folders that contain git and python, the environment that is activated (VIRTUAL_ENV), and the nvcc on PATH against the toolkit that torch builds with.",
    why="Windows and Linux run the first program of this name on PATH. The git of Cygwin or MSYS2 fails for pip ('Invalid path', \"'remote-https' is not a git command\"), another python installs elsewhere, and builds with CMake compile for the CUDA of another nvcc.",
    by_hand="Put the folder of the right program before the others in PATH, and open a new terminal.",
    probes=(PROGRAM_ORDER, CUDA, NVIDIA, TORCH, FLASH_ATTN, IDENTITY),
    judge=judge,
    systems=frozenset({"windows", "linux"}),
    requires=(Requirement((PROGRAM_ORDER,), _no_path),),
)
