"""The NVIDIA driver and its GPUs."""

from doctor.check import Check
from doctor.checks.gpu import (
    compute_capability,
    driver_supports_cuda,
    gpu,
    gpu_memory_fallback,
    gpu_scheduling,
    gpu_timeout,
    nvidia_driver,
)

CHECKS: tuple[Check, ...] = (
    nvidia_driver.CHECK,
    gpu.CHECK,
    compute_capability.CHECK,
    driver_supports_cuda.CHECK,
    gpu_timeout.CHECK,
    gpu_scheduling.CHECK,
    gpu_memory_fallback.CHECK,
)
