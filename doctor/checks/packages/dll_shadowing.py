"""Does torch load CUDA libraries from PATH because it has none of its own?"""

from __future__ import annotations

from doctor.check import Check
from doctor.checks.packages import torch_cuda_build
from doctor.checks.requires import CUDA_TORCH, NVIDIA_GPU, TORCH_INSTALLED, known_torch, present
from doctor.checks.shared import PYTORCH, value_of
from doctor.models import Evidence, Finding
from doctor.probes.dll_copies import CUDA_DLLS, CudaDlls
from doctor.probes.packages import TORCH, TorchFacts
from wheels.compatibility import cuda_tag
from wheels.machine import TorchBuild


def judge(dlls: CudaDlls, torch: TorchFacts) -> Finding:
    build = value_of(torch.build)
    own = {*value_of(dlls.own), *dlls.beside}
    from_path = _taken_from_path(dlls, own, build)
    measured = ", ".join(f"{name} from {folder}" for name, folder in from_path.items())
    finding = Finding(
        check=CHECK.id,
        status="ok",
        summary="torch loads its own CUDA libraries"
        if own
        else "No CUDA libraries on PATH that torch would load instead of its own",
        measured=measured or "nothing from PATH",
        expected="CUDA libraries in torch\\lib or in Library\\bin of the environment",
        evidence=tuple(
            Evidence(source="file", name=f"{name} on PATH", value=list(folders))
            for name, folders in sorted(dlls.on_path.items())
        ),
    )
    if not from_path:
        return finding
    name, folder = min(from_path.items())
    # A torch without a CUDA tag was built here, against the toolkit on PATH
    return finding.but(
        status="warning" if cuda_tag(build.version) else "info",
        summary=f"torch has no {name} of its own and loads the one in {folder}",
        impact=CHECK.why,
        hint=CHECK.by_hand,
        links=(PYTORCH,),
    )


def _taken_from_path(dlls: CudaDlls, own: set[str], build: TorchBuild) -> dict[str, str]:
    """The libraries that this torch needs and does not have, with the first folder of PATH that has them."""
    needed = {f"{library}64_{build.cuda_major}.dll" for library in ("cudart", "cublas", "cublaslt")}
    if not any(name.startswith("cudnn64_") for name in own):
        needed |= {name for name in dlls.on_path if name.startswith("cudnn64_")}
    return {name: folders[0] for name, folders in dlls.on_path.items() if name in needed - own}


CHECK = Check(
    id="dll-shadowing",
    group="packages",
    looks_at="The CUDA libraries (cudart, cublas, cudnn) in torch\\lib, in the environment's Library\\bin and in the folders of PATH. Copies on PATH are harmless if torch has its own, which it loads by full path.",
    why="A library of another CUDA release fails with 'WinError 127' or 'Could not load library cudnn', and every newly installed toolkit can change which one is loaded.",
    by_hand="Install torch from PyTorch's own index: those builds contain their libraries. Or remove that folder from PATH for the program that trains.",
    probes=(CUDA_DLLS, TORCH),
    judge=judge,
    systems=frozenset({"windows"}),
    because_of=(torch_cuda_build.CHECK,),
    requires=(
        TORCH_INSTALLED,
        NVIDIA_GPU,
        present(CUDA_DLLS, "torch\\lib", lambda dlls: dlls.own),
        known_torch("which CUDA libraries torch needs"),
        CUDA_TORCH,
    ),
)
