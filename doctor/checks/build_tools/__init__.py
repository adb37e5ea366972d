"""What building a package from source needs."""

from doctor.check import Check
from doctor.checks.build_tools import (
    cuda_home,
    cuda_matches_torch,
    cuda_toolkit,
    msvc,
)

CHECKS: tuple[Check, ...] = (
    cuda_toolkit.CHECK,
    cuda_home.CHECK,
    cuda_matches_torch.CHECK,
    msvc.CHECK,
)
