"""Could training spread over the GPUs of this machine?"""

from __future__ import annotations

from doctor.check import Check
from doctor.checks.gpu import nvidia_driver
from doctor.checks.packages import torch_cuda_build
from doctor.checks.shared import could_not_look, skipped_without_nvidia, skipped_without_torch
from doctor.host import Unreadable
from doctor.models import Evidence, Finding
from doctor.probes.nvidia import NVIDIA, NvidiaFacts
from doctor.probes.packages import TORCH, TorchFacts

LINK = "https://docs.pytorch.org/docs/stable/distributed.html"


def judge(torch: TorchFacts, nvidia: NvidiaFacts) -> Finding:
    if without := skipped_without_torch(CHECK.id, torch) or skipped_without_nvidia(CHECK.id, nvidia):
        return without
    if isinstance(nvidia.driver, Unreadable):
        return could_not_look(CHECK.id, "the GPUs", nvidia.driver.reason)
    count = len(nvidia.gpus)
    finding = Finding(
        check=CHECK.id,
        status="ok",
        summary="One GPU: no processes need to talk to each other",
        measured=f"{count} GPU{'' if count == 1 else 's'}",
        expected="one GPU, or Linux",
        evidence=(Evidence(source=nvidia.evidence_source, name="GPUs", value=count),),
    )
    if count < 2:
        return finding
    return finding.model_copy(
        update={
            "status": "info",
            "summary": f"{count} GPUs, but torch for Windows has neither NCCL nor libuv: torchrun needs help",
            "impact": CHECK.why,
            "hint": CHECK.by_hand,
            "links": (LINK,),
        }
    )


CHECK = Check(
    id="distributed",
    group="packages",
    looks_at="The number of NVIDIA GPUs. PyTorch's Windows builds contain neither NCCL nor the libuv store.",
    why="torchrun and accelerate stop with 'use_libuv was requested but PyTorch was built without libuv support' or \"Distributed package doesn't have NCCL built in\".",
    by_hand="Use one GPU (CUDA_VISIBLE_DEVICES=0), or the backend gloo with USE_LIBUV=0; for speed over several GPUs use Linux or WSL 2.",
    probes=(TORCH, NVIDIA),
    judge=judge,
    systems=frozenset({"windows"}),
    because_of=(nvidia_driver.CHECK, torch_cuda_build.CHECK),
)
