"""What building a package from source needs, and the runtime that every compiled package needs."""

from doctor.check import Check
from doctor.checks.build_tools import (
    build_dependencies,
    build_parallelism,
    cuda_home,
    cuda_matches_torch,
    cuda_toolkit,
    gcc_supported_by_nvcc,
    msvc,
    msvc_environment,
    msvc_language,
    msvc_supported_by_nvcc,
    ninja,
    program_order,
    source_build,
    torch_extensions_cache,
    vc_redist,
    windows_sdk,
)

CHECKS: tuple[Check, ...] = (
    vc_redist.CHECK,
    cuda_toolkit.CHECK,
    cuda_home.CHECK,
    cuda_matches_torch.CHECK,
    msvc.CHECK,
    msvc_language.CHECK,
    msvc_environment.CHECK,
    msvc_supported_by_nvcc.CHECK,
    gcc_supported_by_nvcc.CHECK,
    windows_sdk.CHECK,
    ninja.CHECK,
    program_order.CHECK,
    build_dependencies.CHECK,
    build_parallelism.CHECK,
    torch_extensions_cache.CHECK,
    source_build.CHECK,
)
