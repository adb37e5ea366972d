"""What belongs beside a torch, against the releases that PyTorch and the others published together."""

from __future__ import annotations

import pytest
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
    ],
)
def test_companions(package: str, torch: str, expected: str | None) -> None:
    assert c.companion_requirement(package, Version(torch)) == expected


def test_every_torch_in_the_table_has_its_companions() -> None:
    minors = {".".join(version.split(".")[:2]) for version in table()["torch"]["releases"]}
    for package in ("torchvision", "torchaudio"):
        assert set(table()["companions"][package]) == minors


def test_torchvision_counts_fifteen_above_torch() -> None:
    for torch, requirement in table()["companions"]["torchvision"].items():
        if requirement.startswith("=="):
            assert requirement == f"==0.{int(torch.partition('.')[2]) + 15}.*"


@pytest.mark.parametrize(
    ("torch", "tag", "expected"),
    [("2.8", "cu128", True), ("2.8", "cu124", False), ("2.15", "cu130", None), ("9.9", "cu130", None)],
)
def test_a_windows_torch_of_that_name_exists(torch: str, tag: str, expected: bool | None) -> None:
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


@pytest.mark.parametrize(
    ("triton", "capability", "expected"),
    [
        ("3.2.0.post21", (7, 5), True),
        ("3.3.1.post19", (7, 5), False),
        ("3.2.0.post21", (12, 0), False),
        ("3.3.0.post19", (12, 0), True),
        ("3.7.1.post27", (8, 6), True),
        ("3.7.1.post27", (6, 1), False),
    ],
)
def test_gpus_of_triton_windows(triton: str, capability: tuple[int, int], expected: bool) -> None:
    assert c.triton_windows_serves(Version(triton), capability) is expected


def test_float8_and_the_compiler_of_triton_windows() -> None:
    old, new = Version("3.5.0.post20"), Version("3.5.0.post21")
    assert c.triton_windows_for_float8(old, (8, 6)) == "3.5.0.post21"
    assert c.triton_windows_for_float8(new, (8, 6)) is None
    assert c.triton_windows_for_float8(old, (8, 9)) is None, "Ada has float8 of its own"
    assert not c.triton_windows_has_compiler(Version("3.2.0.post12"))
    assert c.triton_windows_has_compiler(Version("3.2.0.post13"))
    assert not c.triton_windows_has_compiler(Version("3.1.0.post17"))


@pytest.mark.parametrize(
    ("bitsandbytes", "torch", "expected"),
    [
        ("0.44.1", "2.6.0", ">=0.45.1"),
        ("0.45.1", "2.6.0", None),
        ("0.44.1", "2.5.1", None),  # Triton 3.1 still had triton.ops
        ("0.44.1", "9.9.0", None),
    ],
)
def test_bitsandbytes(bitsandbytes: str, torch: str, expected: str | None) -> None:
    assert c.bitsandbytes_requirement(Version(bitsandbytes), Version(torch)) == expected


def test_flash_attn_and_xformers() -> None:
    assert c.fetches_cuda_12_wheel(Version("2.8.3"), 13)
    assert not c.fetches_cuda_12_wheel(Version("2.8.3"), 12)
    assert not c.fetches_cuda_12_wheel(Version("2.8.3.post1"), 13)
    assert c.is_pure_python_xformers(Version("0.0.35.dev1146"))
    assert not c.is_pure_python_xformers(Version("0.0.35.dev1145"))
    assert not c.is_pure_python_xformers(Version("0.0.35"))
