"""Does torch take CUDA libraries from PATH, for want of its own?"""

from __future__ import annotations

from doctor.check import Check
from doctor.checks.packages import torch_cuda_build
from doctor.checks.shared import (
    PYTORCH,
    cannot_tell,
    could_not_look,
    skipped,
    skipped_without_nvidia,
    skipped_without_torch,
    torch_is,
    why_not,
    why_torch_is_unknown,
)
from doctor.host import Found
from doctor.models import Evidence, Finding
from doctor.probes.dll_copies import CUDA_DLLS, CudaDlls
from doctor.probes.nvidia import NVIDIA, NvidiaFacts
from doctor.probes.packages import TORCH, TorchFacts
from wheels.compatibility import cuda_tag


def judge(dlls: CudaDlls, torch: TorchFacts, nvidia: NvidiaFacts) -> Finding:
    if without := skipped_without_torch(CHECK.id, torch) or skipped_without_nvidia(CHECK.id, nvidia):
        return without
    if not isinstance(dlls.own, Found):
        return could_not_look(CHECK.id, "torch\\lib", why_not(dlls.own))
    this = torch_is(torch)
    if this is None:
        return cannot_tell(CHECK.id, "which CUDA libraries torch needs", why_torch_is_unknown(torch))
    if this.cuda_major is None:
        return skipped(CHECK.id, "torch is a build for the CPU (see torch-cuda-build)")
    near = {*dlls.own.value, *dlls.beside}
    wanted = {f"{library}64_{this.cuda_major}.dll" for library in ("cudart", "cublas", "cublaslt")}
    if not any(name.startswith("cudnn64_") for name in near):
        wanted |= {name for name in dlls.on_path if name.startswith("cudnn64_")}
    borrowed = {name: folders[0] for name, folders in dlls.on_path.items() if name in wanted - near}
    finding = Finding(
        check=CHECK.id,
        status="ok",
        summary="torch loads its own CUDA libraries"
        if near
        else "No CUDA libraries on PATH to mistake for torch's",
        measured=", ".join(f"{name} from {folder}" for name, folder in borrowed.items())
        or "nothing from PATH",
        expected="CUDA libraries in torch\\lib or in Library\\bin of the environment",
        evidence=tuple(
            Evidence(source="file", name=f"{name} on PATH", value=list(folders))
            for name, folders in sorted(dlls.on_path.items())
        ),
    )
    if not borrowed:
        return finding
    name, folder = next(iter(sorted(borrowed.items())))
    return finding.model_copy(
        update={
            "status": "warning"
            if cuda_tag(this.version)
            else "info",  # a torch built here lives on the toolkit
            "summary": f"torch has no {name} of its own and takes the one in {folder}",
            "impact": CHECK.why,
            "hint": CHECK.by_hand,
            "links": (PYTORCH,),
        }
    )


CHECK = Check(
    id="dll-shadowing",
    group="packages",
    looks_at="The CUDA libraries (cudart, cublas, cudnn) in torch\\lib, in the environment's Library\\bin and in the folders of PATH. Copies on PATH do no harm where torch has its own: it loads those by their full path.",
    why="A library of another CUDA release in the place of torch's own fails with 'WinError 127' or 'Could not load library cudnn', and changes with every toolkit that is installed.",
    by_hand="Install torch from PyTorch's own index: its builds bring their libraries. Or take that folder off PATH for the program that trains.",
    probes=(CUDA_DLLS, TORCH, NVIDIA),
    judge=judge,
    systems=frozenset({"windows"}),
    because_of=(torch_cuda_build.CHECK,),
)
