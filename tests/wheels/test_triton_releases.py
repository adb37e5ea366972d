"""wheels/triton_releases.py, compared with published facts entered by hand."""

from __future__ import annotations

import pytest
from packaging.specifiers import SpecifierSet
from packaging.version import Version

from wheels.compatibility_data import table
from wheels.triton_releases import (
    bitsandbytes_requirement,
    triton_minor,
    triton_windows_for_float8,
    triton_windows_has_compiler,
    triton_windows_requirement,
    triton_windows_serves,
)


def test_triton_windows_requirements_admit_the_minor_that_torch_asks_for() -> None:
    for torch in table()["triton_windows"]["for_torch"]:
        wanted, requirement = triton_minor(Version(torch)), triton_windows_requirement(Version(torch))
        if requirement is not None:
            assert f"{wanted}.0" in SpecifierSet(requirement.removeprefix("triton-windows"))
    assert triton_minor(Version("2.13.0")) == "3.7"
    assert triton_windows_requirement(Version("2.15.0")) is None
    assert triton_minor(Version("9.9")) is None


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
    assert triton_windows_serves(Version(triton), capability) is expected


def test_float8_and_the_compiler_of_triton_windows() -> None:
    old, new = Version("3.5.0.post20"), Version("3.5.0.post21")
    assert triton_windows_for_float8(old, (8, 6)) == "3.5.0.post21"
    assert triton_windows_for_float8(new, (8, 6)) is None
    assert triton_windows_for_float8(old, (8, 9)) is None, "Ada supports float8 in hardware"
    assert not triton_windows_has_compiler(Version("3.2.0.post12"))
    assert triton_windows_has_compiler(Version("3.2.0.post13"))
    assert not triton_windows_has_compiler(Version("3.1.0.post17"))


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
    assert bitsandbytes_requirement(Version(bitsandbytes), Version(torch)) == expected
