"""Requirements for building flash-attn from source. Pure functions over `compatibility.json`.

A toolset is a version of Microsoft's C++ tools, (14, 41); an nvcc is a version of NVIDIA's compiler, (12, 8).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from packaging.specifiers import SpecifierSet
from packaging.version import Version

from wheels.compatibility_data import numbers, table


def toolset_number(toolset: str) -> tuple[int, int] | None:
    """ "14.41.34120" -> (14, 41)."""
    match = re.match(r"(\d{1,4})\.(\d{1,4})\b", toolset)
    return (int(match.group(1)), int(match.group(2))) if match else None


def msc_ver(toolset: tuple[int, int]) -> int:
    """Return the _MSC_VER of a toolset's compiler: (14, 41) -> 1941."""
    return (toolset[0] + 5) * 100 + toolset[1]


def nvcc_for_toolset(toolset: tuple[int, int]) -> tuple[int, int] | None:
    """Return the oldest nvcc that this toolset's C++ headers accept (error STL1002); None: any."""
    for row in table()["msvc"]["standard_library_accepts"]:
        if toolset >= numbers(row["toolset_from"]):
            oldest = numbers(row["nvcc_from"])
            return oldest[0], oldest[1]
    return None


@dataclass(frozen=True)
class SourceArchive:
    """Length of the longest path in flash-attn's source archive, with and without the AMD part."""

    longest: int
    longest_without_rocm: int


def winget_cuda_version(cuda: str) -> str | None:
    """Return winget's version number of the CUDA toolkit "13.0"; None: winget does not have it."""
    return cuda if cuda in table()["cuda_toolkit"]["winget_versions"].split() else None


def vc_runtime_for_torch(torch: Version) -> str | None:
    """Return the oldest msvcp140.dll with which this torch loads on Windows: "14.42"; None: no limit is known."""
    for row in table()["vc_runtime"]["msvcp140"]:
        if torch.base_version in SpecifierSet(row["torch"]):
            return str(row["from"])
    return None


def setuptools_requirement(torch: Version | None, python: str) -> str:
    """Return the setuptools that builds extensions of this torch on this Python minor: ">=66.1,<82"; "": any."""
    building = table()["building"]
    bounds = [
        row["requirement"]
        for row in building["setuptools"]
        if torch is not None and torch.base_version in SpecifierSet(row["torch"])
    ]
    if numbers(python) >= (3, 12) and not any(bound.startswith(">") for bound in bounds):
        bounds.insert(0, f">={building['setuptools_from_for_python_3_12']}")
    return ",".join(bounds)


def compiler_jobs(free_gibibytes: float, processors: int | None) -> int:
    """Return how many compilers flash-attn's setup.py runs in parallel, from processors and free memory. At least 1."""
    building = table()["building"]
    by_memory = int(free_gibibytes // building["gibibytes_per_job"])
    by_processor = by_memory if processors is None else processors // building["processors_per_job"]
    return max(1, min(by_memory, by_processor))


def gibibytes_per_job() -> int:
    """Return the memory that flash-attn's setup.py reserves for one compiler."""
    return int(table()["building"]["gibibytes_per_job"])


def flash_attn_source() -> SourceArchive:
    building = table()["building"]
    return SourceArchive(building["longest_source_path"], building["longest_source_path_without_rocm"])


def flash_attn_build_faults(
    torch: Version | None, cuda: tuple[int, int] | None, platform: str
) -> tuple[str, ...]:
    """Return the known reasons why flash-attn does not compile with this torch and this nvcc."""
    return tuple(
        row["why"]
        for row in table()["building"]["known_faults"]
        if row["platform"] == platform
        and ("torch" not in row or (torch is not None and torch.base_version in SpecifierSet(row["torch"])))
        and ("cuda_from" not in row or (cuda is not None and cuda >= numbers(row["cuda_from"])))
    )


def msvc_accepted_by_nvcc(nvcc: tuple[int, int]) -> range | None:
    """Return the _MSC_VER values (1941 is MSVC 14.41) that this nvcc accepts; None: not known."""
    for row in table()["msvc"]["accepted_by_nvcc"]:
        if numbers(row["nvcc_from"]) <= nvcc < numbers(row["nvcc_below"]):
            return range(row["msc_ver_from"], row["msc_ver_below"])
    return None


def newest_gcc_for_nvcc(nvcc: tuple[int, int]) -> int | None:
    """Return the newest major version of gcc that this nvcc accepts; None: not known."""
    for row in table()["gcc"]["newest_accepted"]:
        if numbers(row["nvcc_from"]) <= nvcc < numbers(row["nvcc_below"]):
            return int(row["gcc"])
    return None
