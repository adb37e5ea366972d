"""Choosing checks by name."""

from __future__ import annotations

import pytest

from doctor.checks import CHECKS, UnknownCheckError, select

CONTRACT = [
    "windows-version",
    "python-version",
    "python-architecture",
    "long-paths",
    "git-long-paths",
    "temp-dir",
    "nvidia-driver",
    "gpu",
    "compute-capability",
    "cuda-toolkit",
    "cuda-home",
    "cuda-matches-torch",
    "msvc",
    "torch",
    "torch-cuda-build",
    "flash-attn",
    "xformers",
    "triton",
    "backend-flash-attn-2",
    "backend-xformers",
    "backend-sdpa",
    "backend-manual",
]


def test_the_checks_are_those_of_the_contract_in_its_order() -> None:
    assert [check.id for check in CHECKS] == CONTRACT


def test_select_keeps_the_order_and_takes_patterns() -> None:
    assert select(CHECKS) == CHECKS
    assert [check.id for check in select(CHECKS, ["torch", "long-paths"])] == ["long-paths", "torch"]
    assert len(select(CHECKS, ["backend-*"])) == 4
    assert [check.id for check in select(CHECKS, ["backend-*"], ["backend-sdpa"])] == [
        "backend-flash-attn-2",
        "backend-xformers",
        "backend-manual",
    ]


@pytest.mark.parametrize("name", ["long_paths", "nothing-*", "", "LONG-PATHS"])
def test_an_unknown_name_is_refused_with_the_known_ones(name: str) -> None:
    for only, skip in (([name], []), ([], [name])):
        with pytest.raises(UnknownCheckError, match="long-paths, git-long-paths") as refusal:
            select(CHECKS, only, skip)
        assert f"'{name}'" in str(refusal.value)


def test_each_check_explains_itself_in_single_lines() -> None:
    for check in CHECKS:
        for text in (check.looks_at, check.why, check.by_hand):
            assert text, check.id
            assert "\n" not in text, check.id
