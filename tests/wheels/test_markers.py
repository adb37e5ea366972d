"""Environment markers, compared with packaging's evaluation when every value is known."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.markers import InvalidMarker, Marker

from wheels.markers import marker_holds

WINDOWS = {
    "os_name": "nt",
    "sys_platform": "win32",
    "platform_system": "Windows",
    "platform_machine": "AMD64",
    "python_version": "3.12",
    "python_full_version": "3.12.4",
    "implementation_name": "cpython",
    "platform_python_implementation": "CPython",
    "extra": "",
}
UNKNOWN = {"platform_release": "", "platform_version": "", "implementation_version": "3.12.4"}

variables = st.sampled_from(sorted(WINDOWS))
values = st.sampled_from(
    ["win32", "linux", "Linux", "3.9", "3.12", "3.12.4", "3.100", "AMD64", "nt", "", "test"]
)
operators = st.sampled_from(["==", "!=", "<", "<=", ">", ">=", "in", "not in"])
comparisons = st.builds(
    lambda name, operator, value: f'{name} {operator} "{value}"', variables, operators, values
)
markers = st.recursive(
    comparisons,
    lambda inner: st.builds(
        lambda left, word, right: f"({left}) {word} ({right})", inner, st.sampled_from(["and", "or"]), inner
    ),
    max_leaves=5,
)


@given(markers)
def test_markers_are_evaluated_as_packaging_evaluates_them(marker: str) -> None:
    held = marker_holds(marker, WINDOWS)
    if held is not None:
        try:
            assert held == Marker(marker).evaluate({**WINDOWS, **UNKNOWN})
        except InvalidMarker:
            pytest.fail(f"{marker} is none, and was answered")


@pytest.mark.parametrize(
    ("marker", "expected"),
    [
        ('platform_system == "Linux" and platform_machine == "x86_64"', False),
        ('platform_system == "Windows"', True),
        ('python_version < "3.11" or sys_platform == "win32"', True),
        ('python_version >= "3.9"', True),  # compared as versions, not as text
        ('"win" in sys_platform', True),
        ('extra == "test"', False),
        ('sys_platform == "win32" and platform_release >= "10"', None),
        ('sys_platform == "linux" and platform_release >= "10"', False),
        ('python_version ~= "3.9"', None),
        ("", None),
    ],
)
def test_markers_of_real_packages(marker: str, expected: bool | None) -> None:
    assert marker_holds(marker, WINDOWS) is expected


@given(st.text())
def test_any_text_can_be_parsed(text: str) -> None:
    assert marker_holds(text, WINDOWS) in (True, False, None)


def test_a_deeply_nested_marker_is_unknown() -> None:
    assert marker_holds("(" * 5000 + 'extra == ""' + ")" * 5000, WINDOWS) is None
