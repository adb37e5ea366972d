"""Logs against the table: the right row for every symptom, nothing for what went well, the root cause first."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from doctor.failures.log import Log, read, shown
from doctor.failures.table import failures
from tests.doctor.failures.samples import (
    FAILING,
    HEALTHY,
    Sample,
    named,
    placed,
    samples,
    unrelated_output,
    wrapped,
)

TERMINAL_TRICKS = ("\x1b[31m", "\x1b[0m", "\x1b]0;a title\x07", "\x1b[2K", "\x1b[1A")


def as_powershell_writes(text: str) -> bytes:
    return b"\xff\xfe" + text.replace("\n", "\r\n").encode("utf-16-le")


def as_powershell_appends(text: str) -> bytes:
    """`>>` to a file that cmd began."""
    return b"started\r\n" + text.replace("\n", "\r\n").encode("utf-16-le")


def as_a_mark_and_utf8(text: str) -> bytes:
    return b"\xef\xbb\xbf" + text.encode()


def in_code_page(page: str) -> Callable[[str], bytes]:
    return lambda text: text.replace("\n", "\r\n").encode(page, "replace")


WRITERS = {
    "PowerShell": as_powershell_writes,
    "PowerShell appending": as_powershell_appends,
    "utf-8 with a mark": as_a_mark_and_utf8,
    **{page: in_code_page(page) for page in ("cp437", "cp850", "cp852", "cp866", "cp932", "cp1252")},
}


@pytest.mark.parametrize("sample", samples(), ids=str)
def test_the_right_row_is_named_among_unrelated_output(sample: Sample) -> None:
    assert len(unrelated_output()) >= 200
    for platform in ("win_amd64", "manylinux_2_28_x86_64"):
        rows = named(wrapped(sample.text, platform).encode())
        assert sample.row in rows
        assert rows[0] == sample.row or rows[0] in sample.shared, rows
        assert set(rows) <= {sample.row, *sample.shared}, "and no other"


@pytest.mark.parametrize("path", HEALTHY, ids=lambda path: path.stem)
def test_a_log_of_what_went_well_names_nothing(path: Path) -> None:
    assert named(path.read_bytes()) == []


def test_there_are_ten_healthy_logs() -> None:
    assert len(HEALTHY) >= 10


EXPECTED = {
    "blackwell-cu126": ["C05", "C19"],
    "broken-upgrade": ["A14", "  B07"],
    "cached-wheel-of-another-torch": ["B11", "  D04"],
    "embedded-python-triton": ["B04", "  F04"],
    "flash-attn-without-blackwell": ["D05"],
    "page-file-workers": ["C13", "  C14"],
    "path-too-long-no-compiler": ["D01", "A17", "  E06"],
    "source-build-without-tools": ["D01", "  E06", "  E11"],
    "store-python-long-paths": ["A01", "  A02", "  A05"],
    "xformers-swapped-torch": ["C02", "  B21", "  C03", "  C01", "  D07"],
}


@pytest.mark.parametrize("path", FAILING, ids=lambda path: path.stem)
def test_the_root_cause_comes_first_and_what_follows_from_it_below(path: Path) -> None:
    rows = ["  " * place.depth + place.sighting.failure.id for place in placed(path.read_bytes())]
    assert rows == EXPECTED[path.stem]


@pytest.mark.parametrize("writer", WRITERS.values(), ids=WRITERS)
def test_the_encoding_does_not_matter(writer: Callable[[str], bytes]) -> None:
    for path in FAILING:
        text = path.read_text(encoding="utf-8")
        if writer is as_powershell_appends:
            text = "Größe\n" + text
        assert named(writer(text)) == named(text.encode()), path.stem


def test_the_line_is_the_one_that_an_editor_shows() -> None:
    text = "one\r\n\x1b[32mtwo\x1b[0m\r\n10%\r50%\r100%\r\nOMP: Error \x1b[1m#15\x1b[0m: libiomp5md.dll\r\n"
    (place,) = placed(text.encode())
    assert (place.sighting.line, place.sighting.text) == (4, "OMP: Error #15: libiomp5md.dll")


def test_a_line_behind_a_progress_bar_is_seen_and_shown_alone() -> None:
    bar = "\r".join(f"{percent}% {'#' * 30}" for percent in range(100)) * 200
    (place,) = placed(f"{bar}\rOMP: Error #15: twice\n".encode())
    assert place.sighting.text == "OMP: Error #15: twice"


def test_of_a_line_without_end_the_place_is_shown() -> None:
    (place,) = placed(b"x" * 100_000 + b" OMP: Error #15 " + b"y" * 100_000)
    assert "OMP: Error #15" in place.sighting.text
    assert len(place.sighting.text) < 260


def test_control_characters_are_made_visible() -> None:
    assert shown("a\x07b\tc\x9b31m", 0) == "a\\x07b\\tc\\x9b31m"


def test_what_the_machine_shows_decides_between_two_rows() -> None:
    shared = b"RuntimeError: CUDA error: no kernel image is available for execution on the device"
    assert named(shared) == ["C04"], "the log does not name flash-attn"
    assert named(b"flash_attn 2.8.3\n" + shared) == ["C04", "D05"]
    assert [place.certain for place in placed(shared)] == [False]
    assert named(shared, failing=frozenset({"flash-attn"})) == ["D05"]
    assert named(shared, failing=frozenset({"torch-cuda-build"})) == ["C04"]


def test_a_reinstall_of_the_same_kind_of_torch_was_taken_for_a_swap() -> None:
    begun = b"  Attempting uninstall: torch\n    Found existing installation: torch 2.9.1+cu128\n"
    assert named(begun + b"Successfully installed torch-2.10.0+cu130\n") == []
    assert named(begun + b"Successfully installed numpy-2.3.1 torch-2.10.0\n") == ["C02"]
    cpu = b"  Attempting uninstall: torch\n    Found existing installation: torch 2.9.1\n"
    assert named(cpu + b"Successfully installed torch-2.10.0\n") == []
    linux = b"Downloading torch-2.10.0-cp312-cp312-manylinux_2_28_x86_64.whl\n"
    assert named(linux + begun + b"Successfully installed torch-2.10.0\n") == []


def test_a_harmless_warning_stands_last() -> None:
    warning = b"UserWarning: 1Torch was not compiled with flash attention.\n"
    assert named(warning + b"OMP: Error #15: twice\n") == ["C12", "C19"]
    assert [place.sighting.harmless for place in placed(warning)] == [True]


@pytest.mark.parametrize("sample", random.Random(5).sample(samples(), 40), ids=str)
def test_colours_and_cursor_movements_hide_nothing(sample: Sample) -> None:
    noisy = "\x1b[?25l" + "".join(
        word + TERMINAL_TRICKS[index % len(TERMINAL_TRICKS)] for index, word in enumerate(sample.text)
    )
    assert named(noisy.encode()) == named(sample.text.encode())


@given(st.binary(max_size=2_000))
def test_any_bytes_are_a_log(data: bytes) -> None:
    for place in placed(data):
        assert place.sighting.text.isprintable()


@given(st.data())
def test_damage_anywhere_ends_in_no_error(data: st.DataObject) -> None:
    raw = bytearray(data.draw(st.sampled_from(FAILING)).read_bytes())
    for _ in range(data.draw(st.integers(1, 5))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    placed(bytes(raw[: data.draw(st.integers(0, len(raw)))]))


@given(st.text(alphabet="ab\n\r", max_size=60), st.data())
def test_places_and_lines_agree_with_a_plain_count(text: str, data: st.DataObject) -> None:
    log = Log(text)
    place = data.draw(st.integers(0, max(0, len(text) - 1)))
    start, end = log.line(place)
    assert log.line_number(place) == text.count("\n", 0, place) + 1
    assert start <= place <= end or text[place : place + 1] in ("\n", "\r", "")
    assert not set(text[start:end]) & {"\n", "\r"}


def test_a_log_of_tens_of_megabytes_is_searched_to_its_end() -> None:
    """In time proportional to its length: a quadratic search would run into the time limit of all tests."""
    whole = b"".join(path.read_bytes() for path in (*HEALTHY, *FAILING))
    data = whole * (20 * 2**20 // len(whole))
    assert placed(data)


REPEATED = [
    "[WinError 5] ",
    "fatal error C1083: '",
    "OSError: [Errno 2] No such file or directory: ",
    "flash_attn-2.8.3+cu12torch",
    "Successfully installed ",
    "nvcc",
    "Found GPU0 ",
    "UnicodeDecodeError",
    "xFormers was built for",
    "flash_attn_" + "0" * 32,
]


@pytest.mark.parametrize("text", REPEATED)
@pytest.mark.parametrize("in_lines", [False, True], ids=["in one line", "in lines"])
def test_no_line_makes_a_pattern_slow(text: str, in_lines: bool) -> None:
    """A search that is quadratic in the length of a line would run into the time limit of all tests."""
    tail = "\n  Attempting uninstall: torch\nflash_attn-2.8.3+cu12torch ImportError"
    line = text * (100 if in_lines else 1)
    data = (line + "\n" * in_lines) * (2**20 // len(line)) + tail
    placed(data.encode())


def test_reading_keeps_what_is_ascii_in_any_code_page() -> None:
    assert read("Größe: Error #15".encode("cp850")).text.endswith(": Error #15")
    assert read("Größe".encode()).text == "Größe"
    assert read(b"\xfe\xff" + "Größe".encode("utf-16-be")).text == "Größe"


def test_the_table_names_no_group_twice() -> None:
    assert list(failures().groups) == ["A", "B", "C", "D", "E", "F"]
