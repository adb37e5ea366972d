"""The attention backends, each tested by running it."""

from doctor.check import Check
from doctor.checks.backends import (
    backend_flash_attn_2,
    backend_flash_attn_4,
    backend_hub_kernels,
    backend_manual,
    backend_sdpa,
    backend_xformers,
)

CHECKS: tuple[Check, ...] = (
    backend_flash_attn_2.CHECK,
    backend_flash_attn_4.CHECK,
    backend_hub_kernels.CHECK,
    backend_xformers.CHECK,
    backend_sdpa.CHECK,
    backend_manual.CHECK,
)
