"""Whether building flash-attn makes sense on this machine. If not, a missing build tool is no reason for a warning."""

from __future__ import annotations

from doctor.checks.shared import torch_is
from doctor.host import Found
from doctor.models import Finding
from doctor.probes.nvidia import NvidiaFacts
from doctor.probes.packages import FlashAttnFacts, TorchFacts
from wheels.flash_attn_builds import flash_attn_minimum_capability, parse_flash_attn


def has_flash_attn(flash_attn: FlashAttnFacts, torch: TorchFacts) -> bool:
    """Whether flash-attn is installed, compiled, and built for the installed torch."""
    this = torch_is(torch)
    if not isinstance(flash_attn.distribution, Found) or this is None:
        return False
    installed = flash_attn.distribution.value
    built_for = parse_flash_attn(installed.version, installed.direct_url).torch
    compiled = isinstance(flash_attn.extensions, Found) and bool(flash_attn.extensions.value)
    return compiled and built_for in (None, this.minor)


def why_flash_attn_cannot_run(nvidia: NvidiaFacts, torch: TorchFacts) -> str | None:
    """Return why no build of flash-attn can run on this machine; None if one can."""
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


def with_build_severity(
    finding: Finding, nvidia: NvidiaFacts, torch: TorchFacts, flash_attn: FlashAttnFacts
) -> Finding:
    """Return the finding as a warning if flash-attn may have to be built here, otherwise as information."""
    may_be_built = why_flash_attn_cannot_run(nvidia, torch) is None and not has_flash_attn(flash_attn, torch)
    return finding.but(status="warning" if may_be_built else "info")
