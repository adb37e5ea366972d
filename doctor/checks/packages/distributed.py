"""Can training use several GPUs of this machine?"""

from __future__ import annotations

from doctor.check import Check
from doctor.checks.gpu import nvidia_driver
from doctor.checks.packages import torch_cuda_build
from doctor.checks.requires import GPUS_READABLE, NVIDIA_GPU, TORCH_INSTALLED
from doctor.models import Evidence, Finding
from doctor.probes.nvidia import NVIDIA, NvidiaFacts

LINK = "https://docs.pytorch.org/docs/stable/distributed.html"


def judge(nvidia: NvidiaFacts) -> Finding:
    count = len(nvidia.gpus)
    finding = Finding(
        check=CHECK.id,
        status="ok",
        summary="One GPU: distributed training is not needed",
        measured=f"{count} GPU{'' if count == 1 else 's'}",
        expected="one GPU, or Linux",
        evidence=(Evidence(source=nvidia.evidence_source, name="GPUs", value=count),),
    )
    if count < 2:
        return finding
    return finding.but(
        status="info",
        summary=f"{count} GPUs, but torch for Windows has neither NCCL nor libuv: torchrun fails with its defaults",
        impact=CHECK.why,
        hint=CHECK.by_hand,
        links=(LINK,),
    )


CHECK = Check(
    id="distributed",
    group="packages",
    looks_at="The number of NVIDIA GPUs. PyTorch's Windows builds contain neither NCCL nor the libuv store.",
    why="torchrun and accelerate stop with 'use_libuv was requested but PyTorch was built without libuv support' or \"Distributed package doesn't have NCCL built in\".",
    by_hand="Use one GPU (CUDA_VISIBLE_DEVICES=0), or the gloo backend with USE_LIBUV=0. For full speed on several GPUs use Linux or WSL 2.",
    probes=(NVIDIA,),
    judge=judge,
    systems=frozenset({"windows"}),
    because_of=(nvidia_driver.CHECK, torch_cuda_build.CHECK),
    requires=(TORCH_INSTALLED, NVIDIA_GPU, GPUS_READABLE),
)
