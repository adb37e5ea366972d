"""Does PyTorch's own attention (SDPA) contain FlashAttention in this build?"""

from __future__ import annotations

from doctor.check import Check, Requirement
from doctor.checks.packages import torch_cuda_build
from doctor.checks.requires import CUDA_TORCH, GPUS_READABLE, NVIDIA_GPU, TORCH_INSTALLED, known_torch
from doctor.checks.shared import skipped, value_of
from doctor.host import Identity
from doctor.models import Evidence, Finding
from doctor.probes.nvidia import NVIDIA, NvidiaFacts
from doctor.probes.packages import TORCH, TorchFacts
from doctor.probes.system import IDENTITY
from wheels.companions import contains_flash_kernels
from wheels.flash_attn_builds import flash_attn_minimum_capability

LINKS = ("https://github.com/pytorch/pytorch/issues/108175",)


def judge(torch: TorchFacts, identity: Identity) -> Finding:
    build = value_of(torch.build)
    finding = Finding(
        check=CHECK.id,
        status="ok",
        summary=f"{build} contains FlashAttention kernels",
        measured=str(build),
        expected="PyTorch's own build; on Windows 2.15 or newer",
        evidence=(Evidence(source="file", name="torch/version.py: __version__", value=str(build.version)),),
    )
    if contains_flash_kernels(build.version, identity.os):
        return finding
    return finding.but(
        status="info",
        summary=f"{build} has no FlashAttention of its own, like every Windows build from 2.2 to 2.14",
        impact=CHECK.why,
        hint=CHECK.by_hand,
        links=LINKS,
    )


def _older_gpu(check: str, nvidia: NvidiaFacts) -> Finding | None:
    if nvidia.gpus and max(nvidia.capabilities) < flash_attn_minimum_capability():
        return skipped(check, "these kernels need a GPU of compute capability 8.0 or higher")
    return None


CHECK = Check(
    id="torch-flash-kernels",
    group="packages",
    looks_at="The torch release and the system, against the list of PyTorch builds without FlashAttention. Nothing is imported.",
    why="Without it, scaled_dot_product_attention warns '1Torch was not compiled with flash attention' and uses its memory-efficient kernel: correct, but slower.",
    by_hand="Nothing needs repair: the warning is harmless. For FlashAttention install flash-attn, or xformers on GPUs up to compute capability 9.0. Do not force SDPBackend.FLASH_ATTENTION.",
    probes=(TORCH, IDENTITY),
    judge=judge,
    because_of=(torch_cuda_build.CHECK,),
    requires=(
        TORCH_INSTALLED,
        NVIDIA_GPU,
        known_torch("which torch this is"),
        CUDA_TORCH,
        GPUS_READABLE,
        Requirement((NVIDIA,), _older_gpu),
    ),
)
