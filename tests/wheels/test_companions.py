"""The versions that belong to a torch, compared with what PyTorch and the other projects released together."""

from __future__ import annotations

import pytest
from packaging.specifiers import SpecifierSet
from packaging.version import Version

from wheels import companions as c
from wheels.compatibility_data import table


@pytest.mark.parametrize(
    ("package", "torch", "expected"),
    [
        ("torchvision", "2.9.1+cu128", "==0.24.*"),
        ("torchvision", "2.13.0", "==0.28.*"),
        ("torchvision", "2.15.0", ">=0.29.1"),
        ("torchaudio", "2.8.0", "==2.8.*"),
        ("torchaudio", "2.13.0", "==2.11.*"),
        ("torchvision", "2.13.0a0+git1234", None),
        ("torchvision", "9.9.0", None),
        ("torchcodec", "2.8.0+cu128", ">=0.6,<0.8"),
        ("torchcodec", "2.14.1", ">=0.12"),
        ("torchao", "2.9.1", ">=0.14,<0.16"),
        ("torchao", "2.4.0", None),
    ],
)
def test_companions(package: str, torch: str, expected: str | None) -> None:
    assert c.companion_requirement(package, Version(torch)) == expected


def test_every_torch_in_the_table_has_companions() -> None:
    minors = {".".join(version.split(".")[:2]) for version in table()["torch"]["releases"]}
    for package in c.COMPANIONS:
        assert set(table()["companions"][package]) == minors


def test_the_minor_of_torchvision_is_fifteen_above_that_of_torch() -> None:
    for torch, requirement in table()["companions"]["torchvision"].items():
        if requirement.startswith("=="):
            assert requirement == f"==0.{int(torch.partition('.')[2]) + 15}.*"


# Releases of torch and torchao that worked together, or did not: pytorch/ao#2919, unslothai/unsloth#6400,
# Comfy-Org/ComfyUI#10371, ace-step/ACE-Step-1.5#361, axolotl-ai-cloud/axolotl#3432
@pytest.mark.parametrize(
    ("torch", "torchao", "loads"),
    [
        ("2.8.0", "0.13.0", True),
        ("2.9.0", "0.14.1", True),
        ("2.9.1", "0.15.0", True),
        ("2.10.0", "0.16.0", True),
        ("2.11.0", "0.17.0", True),
        ("2.8.0", "0.14.0", False),
        ("2.7.1", "0.15.0", False),
        ("2.9.1", "0.16.0", False),
        ("2.10.0", "0.14.0", False),
    ],
)
def test_the_compiled_part_of_torchao(torch: str, torchao: str, loads: bool) -> None:
    wanted = c.companion_requirement("torchao", Version(torch))
    assert wanted is not None
    assert SpecifierSet(wanted).contains(torchao) is loads


@pytest.mark.parametrize(
    ("bitsandbytes", "torch", "cuda", "fault"),
    [
        ("0.50.2", "2.13.0", (13, 2), None),
        ("0.50.2", "2.8.0", (12, 9), None),  # takes its library for 12.8
        ("0.49.2", "2.8.0", (12, 9), None),
        ("0.49.2", "2.12.0", (13, 2), "has no library for CUDA 13.2"),
        ("0.47.0", "2.9.0", (13, 0), "has no library for CUDA 13.0"),
        ("0.45.5", "2.8.0", (12, 9), "has no library for CUDA 12.9"),
        ("0.48.2", "2.2.0", (12, 1), "requires torch>=2.3,<3"),
        ("0.40.0", "2.8.0", (12, 8), None),
    ],
)
def test_bitsandbytes(bitsandbytes: str, torch: str, cuda: tuple[int, int], fault: str | None) -> None:
    assert c.bitsandbytes_fault(Version(bitsandbytes), Version(torch), cuda) == fault


def test_the_cuda_versions_of_bitsandbytes() -> None:
    newest = c.bitsandbytes_cuda(Version(c.newest_bitsandbytes()))
    assert newest == ("11.8", "12.1", "12.4", "12.6", "12.8", "13.0", "13.2")
    assert c.bitsandbytes_cuda(Version("0.39.0")) is None


@pytest.mark.parametrize(
    ("torch", "tag", "expected"),
    [("2.8", "cu128", True), ("2.8", "cu124", False), ("2.15", "cu130", None), ("9.9", "cu130", None)],
)
def test_the_windows_build_of_torch_exists(torch: str, tag: str, expected: bool | None) -> None:
    assert c.exists_for_windows(torch, tag) is expected


@pytest.mark.parametrize(
    ("torch", "platform", "expected"),
    [
        ("2.1.2", "windows", True),
        ("2.2.0", "windows", False),
        ("2.14.1+cu130", "windows", False),
        ("2.15.0+cu130", "windows", True),
        ("2.13.0", "linux", True),
    ],
)
def test_flash_kernels(torch: str, platform: str, expected: bool) -> None:
    assert c.contains_flash_kernels(Version(torch), platform) is expected


def test_the_packages_of_the_table_refused_numpy_2_before_or_say_nothing() -> None:
    """Metadata of the releases just before: pandas 2.2.1, scipy 1.12.0, contourpy 1.2.0 and shapely 2.0.3."""
    before = {
        "pandas": "<2,>=1.23.2",
        "contourpy": "<2.0,>=1.20",
        "shapely": "<2,>=1.14",
        "numba": "<1.27,>=1.22",
    }
    assert all(
        c.refuses_numpy_2(specifier) and c.oldest_for_numpy_2(name) for name, specifier in before.items()
    )
    assert not any(map(c.refuses_numpy_2, ("", ">=1.22", "<2.1,>=1.22", "<2.3", ">=2", "==1.21")))
