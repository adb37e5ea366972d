"""Does anybody need to build flash-attn here? A tool that nobody needs is no reason for a warning."""

from __future__ import annotations

from doctor.checks.shared import torch_is
from doctor.host import Found
from doctor.models import Finding
from doctor.probes.nvidia import NvidiaFacts
from doctor.probes.packages import FlashAttnFacts, TorchFacts
from wheels.compatibility import flash_attn_minimum_capability, minor, parse_flash_attn


def is_installed(flash_attn: FlashAttnFacts, torch: TorchFacts) -> bool:
    """Is flash-attn there, compiled, and not for another torch?"""
    this = torch_is(torch)
    if not isinstance(flash_attn.distribution, Found) or this is None:
        return False
    installed = flash_attn.distribution.value
    built_for = parse_flash_attn(installed.version, installed.direct_url).torch
    compiled = isinstance(flash_attn.extensions, Found) and bool(flash_attn.extensions.value)
    return compiled and built_for in (None, minor(this.version))


def why_not(nvidia: NvidiaFacts, torch: TorchFacts) -> str | None:
    """What keeps flash-attn from this machine, however it is built."""
    if nvidia.has_gpu is False:
        return "there is no NVIDIA GPU"
    if not torch.installed:
        return "torch is not installed"
    this = torch_is(torch)
    if this is not None and this.cuda_tag is None:
        return "torch is a CPU build (see torch-cuda-build)"
    if nvidia.gpus and max(nvidia.capabilities) < flash_attn_minimum_capability():
        return "flash-attn has no kernels for this GPU"
    return None


def as_needed(
    finding: Finding, nvidia: NvidiaFacts, torch: TorchFacts, flash_attn: FlashAttnFacts
) -> Finding:
    """The finding as a warning for who may come to build flash-attn, and as information for everybody else."""
    needed = why_not(nvidia, torch) is None and not is_installed(flash_attn, torch)
    return finding.but(status="warning" if needed else "info")
