"""The installed packages, and whether they fit each other and the machine."""

from doctor.check import Check
from doctor.checks.packages import (
    broken_distributions,
    distributed,
    dll_shadowing,
    extensions,
    flash_attn,
    openmp,
    own_files,
    package_conflicts,
    torch,
    torch_cuda_build,
    torch_flash_kernels,
    torch_known_faults,
    torch_libraries,
    torchvision,
    triton,
    triton_compiler,
    wheel_tags,
    xformers,
)

CHECKS: tuple[Check, ...] = (
    own_files.CHECK,
    broken_distributions.CHECK,
    torch.CHECK,
    torch_cuda_build.CHECK,
    torch_libraries.CHECK,
    torch_known_faults.CHECK,
    torch_flash_kernels.CHECK,
    torchvision.CHECK,
    wheel_tags.CHECK,
    flash_attn.CHECK,
    xformers.CHECK,
    extensions.CHECK,
    triton.CHECK,
    triton_compiler.CHECK,
    package_conflicts.CHECK,
    dll_shadowing.CHECK,
    openmp.CHECK,
    distributed.CHECK,
)
