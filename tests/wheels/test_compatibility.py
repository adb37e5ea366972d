"""The compatibility tables, compared with what NVIDIA, PyTorch and the publishers document elsewhere."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from packaging.version import Version

from wheels import compatibility as c

DATA = json.loads(Path(c.__file__).with_name("compatibility.json").read_text(encoding="utf-8"))
ADA, BLACKWELL, TURING, PASCAL = (8, 9), (12, 0), (7, 5), (6, 1)


def test_every_table_names_its_source_and_date() -> None:
    for name, table in DATA.items():
        assert table["source"], name
        assert table["date"].startswith("2026-"), name


@pytest.mark.parametrize(
    ("driver", "cuda", "platform", "expected"),
    [
        ("581.80", 13, "windows", True),
        ("580", 13, "windows", True),
        ("579.99", 13, "windows", False),
        ("528.33", 12, "windows", True),
        ("528.02", 12, "windows", False),
        ("1000.1", 12, "windows", True),  # numbers, not text
        ("580.65.06", 13, "linux", True),
        ("525.60.12", 12, "linux", False),
        ("581.80", 99, "windows", None),
        ("581.80", 13, "macos", None),
    ],
)
def test_driver_supports(driver: str, cuda: int, platform: str, expected: bool | None) -> None:
    assert c.driver_supports(driver, cuda, platform) is expected


@pytest.mark.parametrize(
    ("driver", "lends"), [("531.79", False), ("536.23", False), ("536.40", True), ("581.80", True)]
)
def test_drivers_that_fall_back_to_system_memory(driver: str, lends: bool) -> None:
    """536.40 is the first, according to NVIDIA's support answer 5490."""
    assert c.falls_back_to_system_memory(driver) is lends


@pytest.mark.parametrize(
    ("built_for", "capability", "runs"),
    [
        ("8.0 8.6 9.0", (8, 9), True),  # machine code of 8.6 runs on 8.9
        ("8.0", (8, 6), True),
        ("8.6", (8, 0), False),
        ("8.0 9.0", (12, 0), False),
        ("12.0", (12, 1), True),
        ("9.0+PTX", (12, 0), True),
        ("12.0+PTX", (9, 0), False),
        ("", (8, 0), False),
    ],
)
def test_contains_code_for(built_for: str, capability: tuple[int, int], runs: bool) -> None:
    assert c.contains_code_for(built_for.split(), capability) is runs


@pytest.mark.parametrize(
    ("torch", "tag", "platform", "capability", "runs"),
    [
        ("2.13.0", "cu130", "windows", PASCAL, False),
        ("2.13.0", "cu126", "windows", PASCAL, True),
        ("2.13.0", "cu126", "windows", BLACKWELL, False),
        ("2.7.1", "cu128", "windows", BLACKWELL, True),
        ("2.10.0", "cu128", "linux", (7, 0), True),  # Volta: dropped after 2.10
        ("2.11.0", "cu128", "linux", (7, 0), False),
    ],
)
def test_torch_architectures(
    torch: str, tag: str, platform: str, capability: tuple[int, int], runs: bool
) -> None:
    architectures = c.torch_architectures(Version(torch), tag, platform)
    assert architectures is not None
    assert c.contains_code_for(architectures, capability) is runs


def test_an_unknown_build_has_unknown_architectures() -> None:
    assert c.torch_architectures(Version("2.13.0"), "cu199", "windows") is None


@pytest.mark.parametrize(
    ("tag", "python", "release"),
    [
        ("cu130", "3.12", "2.14.1"),
        ("cu128", "3.12", "2.11.0"),
        ("cu129", "3.12", "2.9.0"),
        ("cu118", "3.13", "2.7.1"),
        ("cu130", "3.9", None),
        ("cu199", "3.12", None),
    ],
)
def test_newest_torch(tag: str, python: str, release: str | None) -> None:
    assert c.newest_torch(tag, python) == release


def test_the_pythons_of_a_torch() -> None:
    assert c.torch_pythons(Version("2.13.0+cu130")) == ("3.10", "3.11", "3.12", "3.13", "3.14")
    assert c.torch_pythons(Version("2.15.0")) == ("3.11", "3.12", "3.13", "3.14", "3.15")
    assert c.torch_pythons(Version("9.9")) is None
    assert c.pythons_with_torch()[0] == "3.8"
    assert c.pythons_with_torch()[-1] == "3.14"


@pytest.mark.parametrize(
    ("version", "tag"), [("2.13.0+cu130", "cu130"), ("2.13.0+cpu", None), ("2.13.0", None)]
)
def test_cuda_tag(version: str, tag: str | None) -> None:
    assert c.cuda_tag(Version(version)) == tag


def test_a_tag_and_a_version_convert_into_each_other() -> None:
    for tag in ("cu118", "cu126", "cu130"):
        assert c.tag_of_cuda("{}.{}".format(*c.cuda_of_tag(tag))) == tag


@pytest.mark.parametrize(
    ("torch", "longest_site_packages"),
    [("2.7.1", 141), ("2.8.0", 139), ("2.12.1", 139), ("2.13.0", 91), ("2.14.1", 137), ("2.15.0", 132)],
)
def test_the_longest_site_packages_for_torch_without_long_paths(
    torch: str, longest_site_packages: int
) -> None:
    longest = c.torch_longest_path(Version(torch + "+cu130"))
    assert longest is not None
    assert longest_site_packages + len("\\") + longest == 259


def test_the_longest_path_of_an_unknown_torch_is_not_guessed() -> None:
    assert c.torch_longest_path(Version("9.9.0")) is None
