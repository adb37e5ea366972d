"""Unmet requirements, compared with what `pip check` reports for the same packages."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wheels.requirements import unmet_requirements

LINUX = {"sys_platform": "linux", "platform_system": "Linux", "python_version": "3.12", "extra": ""}
INSTALLED = {
    "torch": "2.13.0+cu130",
    "numpy": "2.4.1",
    "huggingface-hub": "2.4.0rc1",
    "local": "not a version",
}


@pytest.mark.parametrize(
    ("requirement", "complaint"),
    [
        ("torch==2.13.0", None),  # a local version matches the public one
        ("torch==2.10.0", "x requires torch==2.10.0; torch 2.13.0+cu130 is installed"),
        ("numpy<2", "x requires numpy<2; numpy 2.4.1 is installed"),
        ("Huggingface_Hub >= 2.0, < 3.0", None),  # an unnormalized name; a pre-release counts
        ("einops", "x requires einops; it is not installed"),
        ("einops; extra == 'dev'", None),
        ("einops; sys_platform == 'win32'", None),
        ("einops; platform_release == '6'", None),  # unknown
        ("einops; sys_platform == 'linux'", "x requires einops; it is not installed"),
        ("torch @ https://example.org/torch.whl", None),
        ("local>=1", None),  # an invalid version proves nothing
        ("what is this !", None),
    ],
)
def test_one_requirement(requirement: str, complaint: str | None) -> None:
    found = unmet_requirements("x", [requirement], INSTALLED, LINUX)
    assert [str(each) for each in found] == ([complaint] if complaint else [])


@given(st.lists(st.text()), st.dictionaries(st.text(), st.text()))
def test_any_metadata_is_read(requires: list[str], versions: dict[str, str]) -> None:
    assert isinstance(unmet_requirements("x", requires, versions, LINUX), list)
