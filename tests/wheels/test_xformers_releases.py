"""wheels/xformers_releases.py, compared with published facts entered by hand."""

from __future__ import annotations

import pytest
from packaging.version import Version

from wheels.xformers_releases import (
    bounds,
    is_pure_python_xformers,
    needed_flash_attn,
    xformers_fault,
    xformers_for_torch,
    xformers_index_tags,
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
        ("0.0.31", "windows", ADA, "xformers 0.0.31.post1"),
        ("0.0.31", "linux", ADA, None),
        ("0.0.31.post1", "windows", ADA, None),
        ("0.0.31.post1", "windows", BLACKWELL, "flash-attn, or PyTorch's own attention (sdpa)"),
        ("0.0.32.post2", "windows", BLACKWELL, "flash-attn, or PyTorch's own attention (sdpa)"),
        ("0.0.33", "windows", BLACKWELL, None),
        ("0.0.34", "windows", BLACKWELL, None),
        ("0.0.35", "windows", BLACKWELL, None),
    ],
)
def test_xformers_fault(version: str, platform: str, capability: tuple[int, int], use: str | None) -> None:
    fault = xformers_fault(Version(version), platform, [capability])
    assert (fault and fault.use) == use


# CHANGELOG.md and .github/workflows/wheels.yml of facebookresearch/xformers at each release; the rows of unsloth's
# studio/backend/utils/wheel_utils.py, which its authors looked up on PyTorch's index, agree for torch 2.7 and later
@pytest.mark.parametrize(
    ("version", "tags"),
    [
        ("0.0.28.post3", "cu124"),
        ("0.0.29.post1", "cu124"),
        ("0.0.29.post2", "cu124 cu126"),
        ("0.0.29.post3", "cu124 cu126"),
        ("0.0.30", "cu126 cu128"),
        ("0.0.31.post1", "cu126 cu128"),
        ("0.0.32.post2", "cu126 cu128 cu129"),
        ("0.0.33.post2", "cu126 cu128 cu130"),
        ("0.0.35", "cu126 cu128 cu130"),
    ],
)
def test_the_cuda_versions_of_each_release_on_the_index(version: str, tags: str) -> None:
    assert " ".join(xformers_index_tags(Version(version), "windows")) == tags


@pytest.mark.parametrize(
    ("version", "torch", "platform", "capability", "needed"),
    [
        ("0.0.35", "2.14.1", "windows", BLACKWELL, ">=2.7.1,<=2.8.4"),
        ("0.0.33.post2", "2.9.1", "windows", BLACKWELL, ">=2.7.1,<=2.8.4"),
        ("0.0.35", "2.15.0", "windows", BLACKWELL, None),  # torch has flash kernels
        ("0.0.35", "2.13.0", "linux", BLACKWELL, None),
        ("0.0.35", "2.13.0", "windows", ADA, None),
        ("0.0.30", "2.7.0", "windows", BLACKWELL, None),
    ],
)
def test_the_flash_attn_that_xformers_needs(
    version: str, torch: str, platform: str, capability: tuple[int, int], needed: str | None
) -> None:
    found = needed_flash_attn(Version(version), Version(torch), platform, [capability])
    assert (found and bounds(found)) == needed


def test_development_builds_with_kernels_in_mslk() -> None:
    assert is_pure_python_xformers(Version("0.0.35.dev1146"))
    assert not is_pure_python_xformers(Version("0.0.35.dev1145"))
    assert not is_pure_python_xformers(Version("0.0.35"))
