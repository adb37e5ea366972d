"""The NVIDIA driver and its GPUs."""

from doctor.check import Check
from doctor.checks.gpu import (
    compute_capability,
    gpu,
    nvidia_driver,
)

CHECKS: tuple[Check, ...] = (
    nvidia_driver.CHECK,
    gpu.CHECK,
    compute_capability.CHECK,
)
