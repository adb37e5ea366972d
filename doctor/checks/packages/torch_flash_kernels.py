"""Was this torch built with FlashAttention inside its own attention (SDPA)?"""

from __future__ import annotations

from doctor.check import Check
from doctor.checks.packages import torch_cuda_build
from doctor.checks.shared import (
    cannot_tell,
    could_not_look,
    skipped,
    skipped_without_nvidia,
    skipped_without_torch,
    torch_is,
    why_torch_is_unknown,
)
from doctor.host import Identity, Unreadable
from doctor.models import Evidence, Finding
from doctor.probes.nvidia import NVIDIA, NvidiaFacts
from doctor.probes.packages import TORCH, TorchFacts
from doctor.probes.system import IDENTITY
from wheels.companions import contains_flash_kernels
from wheels.compatibility import flash_attn_minimum_capability

LINKS = ("https://github.com/pytorch/pytorch/issues/108175",)


def judge(torch: TorchFacts, nvidia: NvidiaFacts, identity: Identity) -> Finding:
    not_applicable = skipped_without_torch(CHECK.id, torch) or skipped_without_nvidia(CHECK.id, nvidia)
    if not_applicable:
        return not_applicable
    this = torch_is(torch)
    if this is None:
        return cannot_tell(CHECK.id, "which torch this is", why_torch_is_unknown(torch))
    if this.cuda_tag is None:
        return skipped(CHECK.id, "torch is a build for the CPU (see torch-cuda-build)")
    if isinstance(nvidia.driver, Unreadable):
        return could_not_look(CHECK.id, "the GPUs", nvidia.driver.reason)
    if nvidia.gpus and max(nvidia.capabilities) < flash_attn_minimum_capability():
        return skipped(CHECK.id, "these kernels need a GPU of compute capability 8.0 or higher")
    contained = contains_flash_kernels(this.version, identity.os)
    finding = Finding(
        check=CHECK.id,
        status="ok",
        summary=f"{this} is made with FlashAttention kernels of its own",
        measured=str(this),
        expected="PyTorch's own build, on Windows of 2.15 or newer",
        evidence=(Evidence(source="file", name="torch/version.py: __version__", value=str(this.version)),),
    )
    if contained:
        return finding
    return finding.model_copy(
        update={
            "status": "info",
            "summary": f"{this} has no FlashAttention of its own, as every Windows build from 2.2 to 2.14",
            "impact": CHECK.why,
            "hint": CHECK.by_hand,
            "links": LINKS,
        }
    )


CHECK = Check(
    id="torch-flash-kernels",
    group="packages",
    looks_at="The release of torch and the system, against the list of PyTorch's builds that lack FlashAttention. Nothing is imported.",
    why="scaled_dot_product_attention then warns '1Torch was not compiled with flash attention' and uses its memory-efficient kernel: correct, but slower.",
    by_hand="Nothing to repair: the warning is harmless. For FlashAttention install flash-attn or xformers; do not force SDPBackend.FLASH_ATTENTION.",
    probes=(TORCH, NVIDIA, IDENTITY),
    judge=judge,
    because_of=(torch_cuda_build.CHECK,),
)
