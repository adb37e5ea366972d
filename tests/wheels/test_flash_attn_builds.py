"""wheels/flash_attn_builds.py, compared with published facts entered by hand."""

from __future__ import annotations

import pytest
from packaging.version import Version

from wheels.compatibility import contains_code_for
from wheels.flash_attn_builds import (
    FlashAttnBuild,
    fetches_cuda_12_wheel,
    flash_attn_architectures,
    flash_attn_minimum_capability,
    parse_flash_attn,
)

BLACKWELL = (12, 0)


@pytest.mark.parametrize(
    ("version", "url", "expected"),
    [
        ("2.8.3+cu128torch2.8", None, FlashAttnBuild("2.8.3", "2.8", 12, 8)),
        ("2.8.3+cu12torch2.8cxx11abiFALSE", None, FlashAttnBuild("2.8.3", "2.8", 12, None)),
        ("2.7.4.post1+cu118torch2.4", None, FlashAttnBuild("2.7.4.post1", "2.4", 11, 8)),
        ("2.8.3+cu130torch2.13", None, FlashAttnBuild("2.8.3", "2.13", 13, 0)),
        (
            "2.8.3",
            "https://example.org/flash_attn-2.8.3%2Bcu126torch2.10-cp312-cp312-win_amd64.whl",
            FlashAttnBuild("2.8.3", "2.10", 12, 6),
        ),
        ("2.8.3", None, FlashAttnBuild("2.8.3", None, None, None)),
        ("", None, FlashAttnBuild("", None, None, None)),
    ],
)
def test_parse_flash_attn(version: str, url: str | None, expected: FlashAttnBuild) -> None:
    assert parse_flash_attn(version, url) == expected


def test_flash_attn_has_blackwell_code_from_cuda_12_8_on() -> None:
    for cuda, runs in (((12, 6), False), ((12, 8), True), ((13, 0), True)):
        assert contains_code_for(flash_attn_architectures(cuda, "2.8.3") or (), BLACKWELL) is runs
    assert flash_attn_architectures((11, 0), "2.8.3") is None
    assert not contains_code_for(flash_attn_architectures((12, 8), "2.7.3") or (), BLACKWELL)
    assert flash_attn_minimum_capability() == (8, 0)


def test_only_a_source_distribution_before_2_8_3_post1_fetches_a_cuda_12_wheel() -> None:
    assert fetches_cuda_12_wheel(Version("2.8.3"), 13)
    assert not fetches_cuda_12_wheel(Version("2.8.3"), 12)
    assert not fetches_cuda_12_wheel(Version("2.8.3.post1"), 13)
