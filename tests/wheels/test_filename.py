"""Valid and invalid wheel filenames."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wheels.filename import WheelName, parse_wheel_name


@pytest.mark.parametrize(
    ("name", "parsed"),
    [
        (
            "flash_attn-2.8.3+cu128torch2.8.0cxx11abiFALSE-cp312-cp312-win_amd64.whl",
            ("flash-attn", "2.8.3", "2.8", (12, 8), False, ("cp312",), "cp312", ("win_amd64",)),
        ),
        (
            "flash_attn-2.8.3.post1+cu12torch2.10cxx11abiTRUE-cp313-cp313-linux_x86_64.whl",
            ("flash-attn", "2.8.3.post1", "2.10", (12, None), True, ("cp313",), "cp313", ("linux_x86_64",)),
        ),
        (
            "flash_attn_3-3.0.0+20260318.cu128torch2100cxx11abitrue.8afc61-cp39-abi3-win_amd64.whl",
            ("flash-attn-3", "3.0.0", "2.10", (12, 8), True, ("cp39",), "abi3", ("win_amd64",)),
        ),
        (  # labels of astral-sh-build/build-flash-attention
            "flash_attn-2.8.3.post1+cu.13.0.torch.2.12-cp312-cp312-manylinux_2_28_x86_64.whl",
            ("flash-attn", "2.8.3.post1", "2.12", (13, 0), None, ("cp312",), "cp312", ("manylinux_2_28_x86_64",)),
        ),
        (
            "flash_attn-2.8.3+cu12.8torch2.8.0cxx11abiTRUE-cp310-cp310-manylinux_2_28_x86_64.whl",
            ("flash-attn", "2.8.3", "2.8", (12, 8), True, ("cp310",), "cp310", ("manylinux_2_28_x86_64",)),
        ),
        (
            "x-1.0-2b-py2.py3-none-manylinux_2_24_x86_64.manylinux_2_28_x86_64.whl",
            ("x", "1.0", None, None, None, ("py2", "py3"), "none", ("manylinux_2_24_x86_64", "manylinux_2_28_x86_64")),
        ),
    ],
)  # fmt: skip
def test_a_wheel_filename_is_parsed(name: str, parsed: tuple[object, ...]) -> None:
    assert parse_wheel_name(name) == WheelName(*parsed)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "name",
    ["", ".whl", "x.whl", "x-1.0.whl", "x-1.0-py3-none.whl", "x-1.0-py3-none-any.tar.gz", "x-1.0-py3-none-any",
     "x-1.0-build-py3-none-any.whl", "x-1.0-1-2-py3-none-any.whl", "x--py3-none-any.whl", "-1.0-py3-none-any.whl",
     "x-1.0-py3--any.whl"],
)  # fmt: skip
def test_an_invalid_filename_is_rejected(name: str) -> None:
    assert parse_wheel_name(name) is None


@given(st.text(alphabet="-+._cupyt0123w.hl\n\0ü", max_size=60))
def test_any_text_can_be_parsed(name: str) -> None:
    parse_wheel_name(name)
