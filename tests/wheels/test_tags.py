"""The wheels that a Python accepts, compared with packaging's tags for the running Python and its installed packages."""

from __future__ import annotations

import importlib.metadata
import sys
import sysconfig

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.tags import sys_tags

from wheels.tags import accepts, is_native

HERE = sys.version_info[:2]
PLATFORM = sysconfig.get_platform().replace("-", "_").replace(".", "_")
FREE_THREADED = bool(sysconfig.get_config_var("Py_GIL_DISABLED"))


@pytest.mark.skipif(sys.implementation.name != "cpython", reason="about CPython")
def test_this_python_accepts_what_packaging_says_that_it_does() -> None:
    refused = [str(tag) for tag in sys_tags() if not accepts(HERE, FREE_THREADED, PLATFORM, [str(tag)])]
    assert refused == []


def test_this_python_accepts_its_own_packages() -> None:
    checked = 0
    for distribution in importlib.metadata.distributions():
        lines = (distribution.read_text("WHEEL") or "").splitlines()
        tags = [line.removeprefix("Tag: ") for line in lines if line.startswith("Tag: ")]
        if is_native(tags):
            checked += 1
            assert accepts(HERE, FREE_THREADED, PLATFORM, tags), distribution.metadata["Name"]
    assert checked


@pytest.mark.parametrize(
    ("python", "free_threaded", "platform", "tag", "expected"),
    [
        ((3, 12), False, "win_amd64", "cp312-cp312-win_amd64", True),
        ((3, 12), False, "win_amd64", "cp311-cp311-win_amd64", False),
        ((3, 12), False, "win_amd64", "cp39-abi3-win_amd64", True),
        ((3, 12), False, "win_amd64", "cp313-abi3-win_amd64", False),
        ((3, 13), True, "win_amd64", "cp313-cp313t-win_amd64", True),
        ((3, 13), True, "win_amd64", "cp313-cp313-win_amd64", False),
        ((3, 13), False, "win_amd64", "cp313-cp313t-win_amd64", False),
        ((3, 13), True, "win_amd64", "cp39-abi3-win_amd64", False),
        ((3, 12), False, "win_amd64", "py39-none-win_amd64", True),
        ((3, 12), False, "win_amd64", "py3-none-win_arm64", False),
        ((3, 12), False, "win32", "cp312-cp312-win_amd64", False),
        ((3, 12), False, "linux_x86_64", "cp312-cp312-manylinux_2_28_x86_64", True),
        ((3, 12), False, "linux_x86_64", "cp312-cp312-musllinux_1_2_x86_64", True),
        ((3, 12), False, "linux_x86_64", "cp312-cp312-manylinux2014_aarch64", False),
        ((3, 12), False, "linux_x86_64", "cp312-cp312-win_amd64", False),
        ((3, 12), False, "linux_x86_64", "py2.py3-none-any", True),
        ((3, 12), False, "linux_x86_64", "no tag", None),
    ],
)
def test_accepts(
    python: tuple[int, int], free_threaded: bool, platform: str, tag: str, expected: bool | None
) -> None:
    assert accepts(python, free_threaded, platform, [tag]) is expected


def test_one_of_several_tags_is_enough() -> None:
    tags = ["cp310-cp310-win_amd64", "cp312-cp312-win_amd64"]
    assert accepts((3, 12), False, "win_amd64", tags) is True
    assert accepts((3, 12), False, "win_amd64", []) is None


@given(st.lists(st.text()))
def test_any_tags_can_be_compared(tags: list[str]) -> None:
    assert accepts((3, 12), False, "win_amd64", tags) in (True, False, None)
