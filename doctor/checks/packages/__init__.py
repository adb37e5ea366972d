"""The installed packages, and whether they fit each other and the machine."""

from doctor.check import Check
from doctor.checks.packages import (
    flash_attn,
    torch,
    torch_cuda_build,
    triton,
    xformers,
)

CHECKS: tuple[Check, ...] = (
    torch.CHECK,
    torch_cuda_build.CHECK,
    flash_attn.CHECK,
    xformers.CHECK,
    triton.CHECK,
)
