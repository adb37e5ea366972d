"""Choosing checks by name."""

from __future__ import annotations

import pytest

from doctor.checks import CHECKS, UnknownCheckError, select

CONTRACT = """
    windows-version python-version python-architecture python-distribution long-paths git-long-paths temp-dir install-path
    path-variable disk-space memory developer-mode console-encoding
    nvidia-driver gpu compute-capability driver-supports-cuda
    cuda-toolkit cuda-home cuda-matches-torch msvc msvc-supported-by-nvcc windows-sdk ninja build-dependencies
    build-parallelism vc-redist
    torch torch-cuda-build torch-flash-kernels flash-attn xformers triton package-conflicts wheel-tags
    backend-flash-attn-2 backend-flash-attn-4 backend-hub-kernels backend-xformers backend-sdpa backend-manual
"""


def test_the_published_check_names_exist() -> None:
    ids = [check.id for check in CHECKS]
    assert set(CONTRACT.split()) <= set(ids)
    assert len(ids) == len(set(ids))


def test_every_cause_is_an_existing_check() -> None:
    for check in CHECKS:
        assert set(check.because_of) <= set(CHECKS), check.id


def test_select_keeps_the_order_and_takes_patterns() -> None:
    assert select(CHECKS) == CHECKS
    assert [check.id for check in select(CHECKS, ["torch", "long-paths"])] == ["long-paths", "torch"]
    assert len(select(CHECKS, ["backend-*"])) == 6
    assert [check.id for check in select(CHECKS, ["backend-*"], ["backend-sdpa"])] == [
        "backend-flash-attn-2",
        "backend-flash-attn-4",
        "backend-hub-kernels",
        "backend-xformers",
        "backend-manual",
    ]


@pytest.mark.parametrize("name", ["long_paths", "nothing-*", "", "LONG-PATHS"])
def test_an_unknown_name_is_refused_with_the_command_that_lists_all(name: str) -> None:
    for only, skip in (([name], []), ([], [name])):
        with pytest.raises(UnknownCheckError, match="aios doctor list") as refusal:
            select(CHECKS, only, skip)
        assert f"'{name}'" in str(refusal.value)


def test_a_misspelled_name_gets_a_suggestion() -> None:
    for name, meant in (("long_paths", "long-paths"), ("tirton", "triton")):
        with pytest.raises(UnknownCheckError, match=f"Did you mean {meant}"):
            select(CHECKS, [name])


def test_the_texts_of_each_check_are_single_lines() -> None:
    for check in CHECKS:
        for text in (check.looks_at, check.why, check.by_hand):
            assert text, check.id
            assert "\n" not in text, check.id
