"""The versions that belong to a torch, compared with what PyTorch and the other projects released together."""

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


def test_every_torch_in_the_table_has_companions() -> None:
    minors = {".".join(version.split(".")[:2]) for version in table()["torch"]["releases"]}
    for package in ("torchvision", "torchaudio"):
        assert set(table()["companions"][package]) == minors


def test_the_minor_of_torchvision_is_fifteen_above_that_of_torch() -> None:
    for torch, requirement in table()["companions"]["torchvision"].items():
        if requirement.startswith("=="):
            assert requirement == f"==0.{int(torch.partition('.')[2]) + 15}.*"


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
