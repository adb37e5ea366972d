"""Requirements of a source build, compared with flash-attn's setup.py, setuptools' history, NVIDIA's and Microsoft's docs."""

from __future__ import annotations

import pytest
from packaging.specifiers import SpecifierSet
from packaging.version import Version

from wheels import source_build as b
from wheels.compatibility_data import table
from wheels.source_build import msvc_accepted_by_nvcc


@pytest.mark.parametrize(
    ("toolset", "number", "msc"),
    [
        ("14.16.27023", (14, 16), 1916),
        ("14.29.30133", (14, 29), 1929),
        ("14.44.35207", (14, 44), 1944),
        ("14.50", (14, 50), 1950),
    ],
)
def test_the_compiler_version_of_a_toolset(toolset: str, number: tuple[int, int], msc: int) -> None:
    assert b.toolset_number(toolset) == number
    assert b.msc_ver(number) == msc


@pytest.mark.parametrize("text", ["", "v143", "14", "1x.3", "preview"])
def test_an_invalid_toolset_is_rejected(text: str) -> None:
    assert b.toolset_number(text) is None


def test_the_nvcc_that_microsofts_headers_require_accepts_the_compiler() -> None:
    """STL1002 came with 14.40; NVIDIA's header accepts that compiler from the nvcc that it requires."""
    assert b.nvcc_for_toolset((14, 39)) is None
    assert b.nvcc_for_toolset((14, 40)) == b.nvcc_for_toolset((14, 50)) == (12, 4)
    assert b.nvcc_for_toolset((14, 51)) == (13, 2)
    assert b.nvcc_for_toolset((14, 52)) == (13, 3)
    accepted = msvc_accepted_by_nvcc((12, 4))
    assert accepted is not None
    assert b.msc_ver((14, 40)) in accepted


@pytest.mark.parametrize(
    ("torch", "python", "works", "fails"),
    [
        ("2.8.0", "3.12", ["66.1.0", "81.0.0"], ["65.5.0", "82.0.0", "84.0.0"]),
        ("2.8.0", "3.11", ["65.5.0"], ["82.0.0"]),
        ("2.10.0", "3.12", ["84.0.0"], ["65.5.0"]),
        ("2.12.1", "3.13", ["81.0.0"], ["82.0.0"]),
        ("2.13.0", "3.12", ["77.0.3", "84.0.0"], ["77.0.2"]),
        (None, "3.12", ["84.0.0"], ["65.5.0"]),
        (None, "3.10", ["58.1.0", "84.0.0"], []),
    ],
)
def test_setuptools(torch: str | None, python: str, works: list[str], fails: list[str]) -> None:
    bounds = SpecifierSet(b.setuptools_requirement(Version(torch) if torch else None, python))
    assert [version for version in works if version not in bounds] == []
    assert [version for version in fails if version in bounds] == []


@pytest.mark.parametrize(
    ("free", "processors", "jobs"),
    [(48, 24, 5), (48, 4, 2), (1000, 64, 32), (8.9, 16, 1), (0, 1, 1), (90, None, 10)],
)
def test_compiler_jobs(free: float, processors: int | None, jobs: int) -> None:
    """max(1, min(processors // 2, free GiB / 9)), as in setup.py of flash-attn 2.8.3.post2."""
    assert b.compiler_jobs(free, processors) == jobs


def test_winget_has_the_toolkit_of_every_windows_build_of_torch() -> None:
    tags = {
        tag for release in table()["torch"]["releases"].values() for tag in release["windows_cuda"].split()
    }
    versions = {f"{tag[2:-1]}.{tag[-1]}" for tag in tags}
    assert {b.winget_cuda_version(version) for version in versions} == versions
    assert b.winget_cuda_version("9.9") is None


@pytest.mark.parametrize(
    ("torch", "cuda", "platform", "words"),
    [
        ("2.13.0", (13, 0), "windows", ["C++20"]),
        ("2.9.1", (12, 8), "windows", ["C2872"]),
        ("2.12.0", (13, 0), "windows", []),
        ("2.12.0", (13, 2), "windows", ["/Zc:preprocessor"]),
        ("2.13.0", (13, 2), "linux", []),
        (None, None, "windows", []),
    ],
)
def test_known_build_faults(
    torch: str | None, cuda: tuple[int, int] | None, platform: str, words: list[str]
) -> None:
    faults = b.flash_attn_build_faults(Version(torch) if torch else None, cuda, platform)
    assert len(faults) == len(words)
    assert all(word in fault for word, fault in zip(words, faults, strict=True))


def test_vc_runtime() -> None:
    assert b.vc_runtime_for_torch(Version("2.13.0+cu130")) == "14.42"
    assert b.vc_runtime_for_torch(Version("2.8.0")) is None


def test_the_source_archive_cannot_be_unpacked_without_long_paths() -> None:
    """The longest member has 234 characters: with pip's 66 and any TEMP, that exceeds the 259 of Windows."""
    archive = b.flash_attn_source()
    assert len("C:\\t") + 66 + archive.longest > 259
    assert archive.longest_without_rocm < archive.longest


@pytest.mark.parametrize(
    ("nvcc", "accepted", "refused"),
    [((12, 3), 1939, 1940), ((12, 8), 1944, 1950), ((13, 0), 1944, 1910), ((13, 2), 1950, 1960)],
)
def test_msvc_accepted_by_nvcc(nvcc: tuple[int, int], accepted: int, refused: int) -> None:
    versions = msvc_accepted_by_nvcc(nvcc)
    assert versions is not None
    assert accepted in versions
    assert refused not in versions


def test_msvc_for_an_unknown_nvcc_is_unknown() -> None:
    assert msvc_accepted_by_nvcc((10, 0)) is None
    assert msvc_accepted_by_nvcc((14, 0)) is None


@pytest.mark.parametrize(
    ("nvcc", "gcc"),
    [
        ((11, 8), 11),
        ((12, 3), 12),
        ((12, 4), 13),
        ((12, 9), 14),
        ((13, 3), 15),
        ((13, 5), 16),
        ((14, 0), None),
    ],
)
def test_the_newest_gcc_is_that_of_the_published_host_config(nvcc: tuple[int, int], gcc: int | None) -> None:
    assert b.newest_gcc_for_nvcc(nvcc) == gcc
