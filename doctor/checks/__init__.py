"""The checks, one a file: the facts it needs, how it judges them, and its fix."""

from __future__ import annotations

from collections.abc import Collection
from fnmatch import fnmatchcase

from doctor.check import Check
from doctor.checks import (
    backend_flash_attn_2,
    backend_manual,
    backend_sdpa,
    backend_xformers,
    compute_capability,
    cuda_home,
    cuda_matches_torch,
    cuda_toolkit,
    flash_attn,
    git_long_paths,
    gpu,
    long_paths,
    msvc,
    nvidia_driver,
    python_architecture,
    python_version,
    temp_dir,
    torch,
    torch_cuda_build,
    triton,
    windows_version,
    xformers,
)

CHECKS: tuple[Check, ...] = (
    windows_version.CHECK,
    python_version.CHECK,
    python_architecture.CHECK,
    long_paths.CHECK,
    git_long_paths.CHECK,
    temp_dir.CHECK,
    nvidia_driver.CHECK,
    gpu.CHECK,
    compute_capability.CHECK,
    cuda_toolkit.CHECK,
    cuda_home.CHECK,
    cuda_matches_torch.CHECK,
    msvc.CHECK,
    torch.CHECK,
    torch_cuda_build.CHECK,
    flash_attn.CHECK,
    xformers.CHECK,
    triton.CHECK,
    backend_flash_attn_2.CHECK,
    backend_xformers.CHECK,
    backend_sdpa.CHECK,
    backend_manual.CHECK,
)


class UnknownCheckError(ValueError):
    """A name that no check has."""

    def __init__(self, name: str) -> None:
        super().__init__(f"There is no check '{name}'. Checks: {', '.join(check.id for check in CHECKS)}.")


def _named(names: Collection[str]) -> frozenset[str]:
    """The ids that the names or patterns ("backend-*") mean. Raises UnknownCheckError."""
    chosen: set[str] = set()
    for name in names:
        matching = {check.id for check in CHECKS if fnmatchcase(check.id, name)}
        if not matching:
            raise UnknownCheckError(name)
        chosen |= matching
    return frozenset(chosen)


def select(only: Collection[str] = (), skip: Collection[str] = ()) -> tuple[Check, ...]:
    """The checks named by `only` (all, if it is empty) without those named by `skip`. Raises UnknownCheckError."""
    wanted, unwanted = _named(only), _named(skip)
    return tuple(check for check in CHECKS if (not only or check.id in wanted) and check.id not in unwanted)
