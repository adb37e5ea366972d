"""The table of packages agrees with the other places that state the same facts."""

from __future__ import annotations

from pathlib import Path

from packaging.requirements import Requirement

from wheels.packages import OLDEST_TORCH, PACKAGES, distribution_of


def test_the_oldest_torch_is_that_of_the_train_extra() -> None:
    lines = (Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8").splitlines()
    quoted = [line.strip().strip('",') for line in lines if line.strip().startswith('"torch>=')]
    assert [next(iter(Requirement(text).specifier)).version for text in quoted] == [str(OLDEST_TORCH)]


def test_triton_has_a_separate_distribution_on_windows() -> None:
    assert [distribution_of(package, "windows") for package in PACKAGES] == [
        "torch", "flash-attn", "xformers", "triton-windows",
    ]  # fmt: skip
    assert [distribution_of(package, "linux") for package in PACKAGES] == list(PACKAGES)
