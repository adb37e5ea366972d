"""wheels/xformers_releases.py, compared with published facts entered by hand."""

from __future__ import annotations

import pytest
from packaging.version import Version

from wheels.xformers_releases import (
    is_pure_python_xformers,
    xformers_fault,
    xformers_for_torch,
    xformers_torch_requirement,
)

ADA, BLACKWELL = (8, 9), (12, 0)


def test_xformers() -> None:
    assert xformers_torch_requirement(Version("0.0.34")) == "==2.10.0"
    assert xformers_torch_requirement(Version("0.0.99")) is None
    assert xformers_for_torch(Version("2.9.1+cu128")) == "0.0.33.post2"
    assert xformers_for_torch(Version("2.13.0")) == "0.0.35"
    assert xformers_for_torch(Version("2.0.0")) is None


@pytest.mark.parametrize(
    ("version", "platform", "capability", "use"),
    [
        ("0.0.31", "windows", ADA, "0.0.31.post1"),
        ("0.0.31", "linux", ADA, None),
        ("0.0.31.post1", "windows", ADA, None),
        ("0.0.31.post1", "windows", BLACKWELL, "0.0.35"),
        ("0.0.34", "windows", BLACKWELL, "0.0.35"),
        ("0.0.35", "windows", BLACKWELL, None),
    ],
)
def test_xformers_fault(version: str, platform: str, capability: tuple[int, int], use: str | None) -> None:
    fault = xformers_fault(Version(version), platform, [capability])
    assert (fault and fault.use) == use


def test_development_builds_with_kernels_in_mslk() -> None:
    assert is_pure_python_xformers(Version("0.0.35.dev1146"))
    assert not is_pure_python_xformers(Version("0.0.35.dev1145"))
    assert not is_pure_python_xformers(Version("0.0.35"))
