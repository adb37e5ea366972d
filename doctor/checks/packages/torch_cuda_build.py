"""Is the installed torch a build that these GPUs can run?"""

from __future__ import annotations

from doctor.check import Check
from doctor.checks.gpu import compute_capability, driver_supports_cuda
from doctor.checks.packages import torch as torch_check
from doctor.checks.shared import (
    NO_ADVICE,
    PYTORCH,
    cannot_tell,
    could_not_look,
    dotted,
    skipped_without_nvidia,
    skipped_without_torch,
    torch_is,
    why_torch_is_unknown,
)
from doctor.checks.wheel_advice import advice, again
from doctor.host import Found, Gpu, Identity, Unreadable
from doctor.models import Evidence, Finding, JsonValue
from doctor.probes.nvidia import NVIDIA, NvidiaFacts
from doctor.probes.packages import TORCH, TorchFacts
from doctor.probes.system import IDENTITY
from doctor.probes.wheel_catalogue import WHEELS
from wheels.catalogue import Catalogue
from wheels.compatibility import contains_code_for, torch_architectures
from wheels.machine import TorchBuild


def judge(torch: TorchFacts, nvidia: NvidiaFacts, identity: Identity, wheels: Catalogue) -> Finding:
    not_applicable = skipped_without_torch(CHECK.id, torch) or skipped_without_nvidia(CHECK.id, nvidia)
    if not_applicable:
        return not_applicable
    this = torch_is(torch)
    if this is None:
        return cannot_tell(CHECK.id, "which build of torch this is", why_torch_is_unknown(torch))
    if nvidia.has_gpu is None and isinstance(nvidia.driver, Unreadable):
        return could_not_look(CHECK.id, "the GPU that torch should fit", nvidia.driver.reason)
    cuda = this.cuda_version
    libraries: JsonValue = None
    if isinstance(torch.libraries, Found):
        libraries = sorted(name for name in torch.libraries.value if "torch_cuda" in name or "cudart" in name)
    advised = advice("torch", identity, nvidia, this, wheels)
    finding = Finding(
        check=CHECK.id,
        status="error",
        summary="",
        measured=f"torch {this.version}, CUDA {cuda or 'none'}",
        expected="a CUDA build with code for these GPUs",
        impact=CHECK.why,
        hint=advised.hint if advised else CHECK.by_hand,
        links=(PYTORCH,),
        evidence=(
            Evidence(source="file", name="torch/version.py: __version__", value=str(this.version)),
            Evidence(source="file", name="torch/version.py: cuda", value=cuda),
            Evidence(source="file", name="torch/lib", value=libraries),
        ),
        fix=advised.fix if advised else again("torch", this, identity) if this.cuda_tag else None,
    )
    trouble = _trouble(torch, this, nvidia, identity.os)
    if trouble:
        return finding.model_copy(update={"summary": trouble})
    if isinstance(torch.libraries, Unreadable):
        return could_not_look(CHECK.id, "the libraries inside torch", torch.libraries.reason)
    if unserved := _unserved(this, nvidia, identity.os):
        return finding.model_copy(
            update={
                "status": "info",
                "summary": f"{this} has code for {nvidia.gpus[0].name}, and none for {unserved[0].name}",
                "impact": "Training takes the first GPU; what runs on the other ends in 'no kernel image is available'.",
                "hint": "Nothing, if the other one is for the display. CUDA_VISIBLE_DEVICES=0 hides it from programs.",
                "fix": None,
            }
        )
    return finding.model_copy(
        update={
            **NO_ADVICE,
            "status": "ok",
            "summary": f"{this} has code for these GPUs" if nvidia.gpus else f"{this} is a CUDA build",
        }
    )


def _trouble(torch: TorchFacts, this: TorchBuild, nvidia: NvidiaFacts, system: str) -> str | None:
    """What keeps this build from the GPU, the most basic cause first."""
    if this.cuda_tag is None:
        return f"{this}: the NVIDIA GPU stays unused"
    if isinstance(torch.libraries, Found) and not any("torch_cuda" in name for name in torch.libraries.value):
        return f"{this} lacks its CUDA library: the installation is damaged"
    unserved = _unserved(this, nvidia, system)
    if unserved and unserved[0] == nvidia.gpus[0]:  # the one that training takes
        gpu = unserved[0]
        return f"{this} has no code for {gpu.name} (compute capability {dotted(gpu.compute_capability)})"
    return None


def _unserved(this: TorchBuild, nvidia: NvidiaFacts, system: str) -> list[Gpu]:
    """The GPUs for which this build has no code, in CUDA's order; empty where nobody knows."""
    architectures = torch_architectures(this.version, this.cuda_tag, system) if this.cuda_tag else None
    if not architectures:
        return []
    return [gpu for gpu in nvidia.gpus if not contains_code_for(architectures, gpu.compute_capability)]


CHECK = Check(
    id="torch-cuda-build",
    group="packages",
    looks_at="torch/version.py and the library names in torch/lib, against the GPUs. Nothing is imported.",
    why="`pip install torch` on Windows always brings the CPU build, and `pip list` does not show it: training then runs on the processor, or fails with 'Torch not compiled with CUDA enabled' or 'no kernel image is available'.",
    by_hand="Install the CUDA build that fits, from PyTorch's own index for that CUDA version.",
    probes=(TORCH, NVIDIA, IDENTITY, WHEELS),
    judge=judge,
    because_of=(torch_check.CHECK, driver_supports_cuda.CHECK, compute_capability.CHECK),
)
