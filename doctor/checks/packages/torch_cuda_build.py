"""Is the installed torch a build that these GPUs can run?"""

from __future__ import annotations

from doctor.check import Check, Requirement
from doctor.checks.gpu import compute_capability, driver_supports_cuda
from doctor.checks.packages import torch as torch_check
from doctor.checks.requires import NVIDIA_GPU, TORCH_INSTALLED, known_torch
from doctor.checks.shared import PYTORCH, could_not_look, dotted, value_of
from doctor.checks.wheel_advice import Advice, advice, reinstall
from doctor.host import Found, Gpu, Identity, Unreadable
from doctor.models import Evidence, Finding, JsonValue
from doctor.probes.nvidia import NVIDIA, NvidiaFacts
from doctor.probes.packages import TORCH, TorchFacts
from doctor.probes.system import IDENTITY
from doctor.probes.wheel_catalogue import WHEELS
from wheels.catalogue import Catalogue
from wheels.compatibility import contains_code_for, cuda_tag, torch_architectures, why_nvcc_cannot_target
from wheels.machine import TorchBuild


def judge(torch: TorchFacts, nvidia: NvidiaFacts, identity: Identity, wheels: Catalogue) -> Finding:
    build = value_of(torch.build)
    ok = _finding(torch, build, nvidia)
    trouble = ok.but(status="error", impact=CHECK.why, links=(PYTORCH,))
    if fault := _fault(torch, build, nvidia, identity.os):
        advised = advice("torch", identity, nvidia, build, wheels) or Advice(
            CHECK.by_hand, reinstall("torch", build, identity) if build.cuda_tag else None
        )
        return trouble.but(summary=fault, hint=advised.hint, fix=advised.fix)
    if isinstance(torch.libraries, Unreadable):
        return could_not_look(CHECK.id, "the libraries inside torch", torch.libraries.reason)
    if without_code := _gpus_without_code(build, nvidia, identity.os):
        return trouble.but(
            status="info",
            summary=f"{build} has code for {nvidia.gpus[0].name}, but none for {without_code[0].name}",
            impact="Training uses the first GPU. Programs that use the other one fail with 'no kernel image is available'.",
            hint="Nothing to do if the other GPU only drives the display. CUDA_VISIBLE_DEVICES=0 hides it from programs.",
        )
    if nvidia.gpus and _architectures(build, identity.os) is None:
        return ok.but(
            status="info",
            summary=f"{build} is a CUDA build, but aios does not know which GPUs it has code for",
            hint='`python -c "import torch; print(torch.cuda.get_arch_list())"` lists them.',
        )
    return ok


def _finding(torch: TorchFacts, build: TorchBuild, nvidia: NvidiaFacts) -> Finding:
    libraries: JsonValue = None
    if isinstance(torch.libraries, Found):
        libraries = sorted(name for name in torch.libraries.value if "torch_cuda" in name or "cudart" in name)
    return Finding(
        check=CHECK.id,
        status="ok",
        summary=f"{build} has code for these GPUs" if nvidia.gpus else f"{build} is a CUDA build",
        measured=f"torch {build.version}, CUDA {build.cuda_version or 'none'}",
        expected="a CUDA build with code for these GPUs",
        evidence=(
            Evidence(source="file", name="torch/version.py: __version__", value=str(build.version)),
            Evidence(source="file", name="torch/version.py: cuda", value=build.cuda_version),
            Evidence(source="file", name="torch/lib", value=libraries),
        ),
    )


def _fault(torch: TorchFacts, build: TorchBuild, nvidia: NvidiaFacts, system: str) -> str | None:
    """Why this build cannot use the GPU, the most basic cause first."""
    if build.cuda_tag is None:
        return f"{build} does not use the NVIDIA GPU"
    if isinstance(torch.libraries, Found) and not any("torch_cuda" in name for name in torch.libraries.value):
        return f"{build} has no CUDA library: its installation is damaged"
    without_code = _gpus_without_code(build, nvidia, system)
    if without_code and without_code[0] == nvidia.gpus[0]:  # training uses the first GPU
        gpu = without_code[0]
        return f"{build} has no code for {gpu.name} (compute capability {dotted(gpu.compute_capability)})"
    return None


def _gpus_without_code(build: TorchBuild, nvidia: NvidiaFacts, system: str) -> list[Gpu]:
    """The GPUs that this build has no code for, in CUDA's order. Empty if the build's architectures are not known."""
    architectures = _architectures(build, system)
    if architectures:
        return [gpu for gpu in nvidia.gpus if not contains_code_for(architectures, gpu.compute_capability)]
    # What nvcc could not compile for is missing even from an unknown build. A build made here may contain PTX.
    if not build.cuda or not cuda_tag(build.version):
        return []
    return [gpu for gpu in nvidia.gpus if why_nvcc_cannot_target(build.cuda, gpu.compute_capability)]


def _architectures(build: TorchBuild, system: str) -> tuple[str, ...] | None:
    return torch_architectures(build.version, build.cuda_tag, system) if build.cuda_tag else None


def _unknown_gpu(check: str, nvidia: NvidiaFacts) -> Finding | None:
    if nvidia.has_gpu is None and isinstance(nvidia.driver, Unreadable):
        return could_not_look(check, "the GPU that torch should fit", nvidia.driver.reason)
    return None


CHECK = Check(
    id="torch-cuda-build",
    group="packages",
    looks_at="torch/version.py and the library names in torch/lib, against the GPUs. Nothing is imported.",
    why="`pip install torch` on Windows always installs the CPU build, and `pip list` does not show it. Training then runs on the CPU, or fails with 'Torch not compiled with CUDA enabled' or 'no kernel image is available'.",
    by_hand="Install the CUDA build that fits, from PyTorch's own index for that CUDA version.",
    probes=(TORCH, NVIDIA, IDENTITY, WHEELS),
    judge=judge,
    because_of=(torch_check.CHECK, driver_supports_cuda.CHECK, compute_capability.CHECK),
    requires=(
        TORCH_INSTALLED,
        NVIDIA_GPU,
        known_torch("which build of torch this is"),
        Requirement((NVIDIA,), _unknown_gpu),
    ),
)
