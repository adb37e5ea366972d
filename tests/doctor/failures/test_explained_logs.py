"""Logs and the failure table: the right row for every symptom, nothing for healthy logs, the root cause first."""

from __future__ import annotations

import importlib
import io
import random
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from doctor.failures.literal import bounded, literal
from doctor.failures.log import PIECE, Log, pieces, read, shown
from doctor.failures.match import find, find_in
from doctor.failures.prefilter import Prefilter
from doctor.failures.table import Symptom, failures
from tests.doctor.failures.samples import (
    FAILING,
    HEALTHY,
    Report,
    Sample,
    healthy_runs,
    named,
    placed,
    reports,
    samples,
    unrelated_output,
    wrapped,
)

TERMINAL_TRICKS = ("\x1b[31m", "\x1b[0m", "\x1b]0;a title\x07", "\x1b[2K", "\x1b[1A")


def as_powershell_writes(text: str) -> bytes:
    return b"\xff\xfe" + text.replace("\n", "\r\n").encode("utf-16-le")


def as_powershell_appends(text: str) -> bytes:
    """PowerShell's `>>` to a file that cmd created."""
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
def test_the_failure_is_found_among_unrelated_output(sample: Sample) -> None:
    assert len(unrelated_output()) >= 200
    for platform in ("win_amd64", "manylinux_2_28_x86_64"):
        rows = named(wrapped(sample.text, platform).encode())
        assert sample.row in rows
        assert rows[0] == sample.row or rows[0] in sample.shared, rows
        assert set(rows) <= {sample.row, *sample.shared}, "and no other"


@pytest.mark.parametrize("path", HEALTHY, ids=lambda path: path.stem)
def test_no_failure_is_found_in_a_healthy_log(path: Path) -> None:
    assert named(path.read_bytes()) == []


@pytest.mark.parametrize("report", reports(), ids=str)
def test_the_cause_of_a_public_report_is_named_first(report: Report) -> None:
    first, *_ = placed(report.text.encode())
    assert (first.sighting.failure.id, first.certain) == (report.row, True)
    if report.package:
        assert first.sighting.package == report.package


@pytest.mark.parametrize("text", healthy_runs().values(), ids=healthy_runs())
def test_no_failure_is_found_in_a_healthy_run(text: str) -> None:
    assert [place.sighting.text for place in placed(text.encode()) if not place.sighting.harmless] == []


def test_there_are_forty_healthy_logs() -> None:
    assert len(HEALTHY) + len(healthy_runs()) >= 40


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
def test_the_root_cause_comes_before_its_consequences(path: Path) -> None:
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


def test_a_line_after_a_progress_bar_is_found_and_shown_alone() -> None:
    bar = "\r".join(f"{percent}% {'#' * 30}" for percent in range(100)) * 200
    (place,) = placed(f"{bar}\rOMP: Error #15: twice\n".encode())
    assert place.sighting.text == "OMP: Error #15: twice"


def test_only_the_matching_part_of_a_very_long_line_is_shown() -> None:
    (place,) = placed(b"x" * 100_000 + b" OMP: Error #15 " + b"y" * 100_000)
    assert "OMP: Error #15" in place.sighting.text
    assert len(place.sighting.text) < 260


def test_control_characters_are_made_visible() -> None:
    assert shown("a\x07b\tc\x9b31m", 0) == "a\\x07b\\tc\\x9b31m"


def test_facts_of_the_machine_decide_between_two_failures() -> None:
    shared = b"RuntimeError: CUDA error: no kernel image is available for execution on the device"
    assert named(shared) == ["C36"], "the log does not name flash-attn"
    assert named(b"flash_attn 2.8.3\n" + shared) == ["C36", "D05"]
    assert [place.certain for place in placed(shared)] == [False]
    assert named(shared, failing=frozenset({"flash-attn"})) == ["D05"]
    assert named(shared, failing=frozenset({"torch-cuda-build"})) == ["C36"]


def test_reinstalling_the_same_kind_of_torch_is_not_a_replacement() -> None:
    begun = b"  Attempting uninstall: torch\n    Found existing installation: torch 2.9.1+cu128\n"
    assert named(begun + b"Successfully installed torch-2.10.0+cu130\n") == []
    assert named(begun + b"Successfully installed numpy-2.3.1 torch-2.10.0\n") == ["C02"]
    cpu = b"  Attempting uninstall: torch\n    Found existing installation: torch 2.9.1\n"
    assert named(cpu + b"Successfully installed torch-2.10.0\n") == []
    linux = b"Downloading torch-2.10.0-cp312-cp312-manylinux_2_28_x86_64.whl\n"
    assert named(linux + begun + b"Successfully installed torch-2.10.0\n") == []


def test_a_harmless_warning_comes_last() -> None:
    warning = b"UserWarning: 1Torch was not compiled with flash attention.\n"
    assert named(warning + b"OMP: Error #15: twice\n") == ["C12", "C19"]
    assert [place.sighting.harmless for place in placed(warning)] == [True]


def test_the_last_error_comes_before_the_first_warning_and_the_first_error_before_all() -> None:
    warning = b"WARNING[XFORMERS]: xFormers can't load C++/CUDA extensions. xFormers was built for:\n"
    error, later = (
        b"OMP: Error #15: twice\n",
        b"torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2 GiB.\n",
    )
    assert named(warning * 3 + error)[0] == "C12"
    assert named(error + later) == ["C12", "C22"]
    assert named(later + error) == ["C22", "C12"]


@pytest.mark.parametrize("sample", random.Random(5).sample(samples(), 40), ids=str)
def test_colours_and_cursor_movements_hide_nothing(sample: Sample) -> None:
    noisy = "\x1b[?25l" + "".join(
        word + TERMINAL_TRICKS[index % len(TERMINAL_TRICKS)] for index, word in enumerate(sample.text)
    )
    assert named(noisy.encode()) == named(sample.text.encode())


@given(st.binary(max_size=2_000))
def test_any_bytes_can_be_read_as_a_log(data: bytes) -> None:
    for place in placed(data):
        assert place.sighting.text.isprintable()


@given(st.data())
def test_damage_anywhere_causes_no_error(data: st.DataObject) -> None:
    raw = bytearray(data.draw(st.sampled_from(FAILING)).read_bytes())
    for _ in range(data.draw(st.integers(1, 5))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    damaged = bytes(raw[: data.draw(st.integers(0, len(raw)))])
    assert all(place.sighting.text.isprintable() for place in placed(damaged))


@given(st.text(alphabet="ab\n\r", max_size=60), st.data())
def test_line_numbers_agree_with_a_plain_count(text: str, data: st.DataObject) -> None:
    log = Log(text)
    place = data.draw(st.integers(0, max(0, len(text) - 1)))
    start, end = log.line(place)
    assert log.line_number(place) == text.count("\n", 0, place) + 1
    assert start <= place <= end or text[place : place + 1] in ("\n", "\r", "")
    assert not set(text[start:end]) & {"\n", "\r"}


def test_a_log_of_megabytes_is_searched_to_its_end() -> None:
    """A quadratic search would exceed the time limit of the tests."""
    whole = b"".join(path.read_bytes() for path in (*HEALTHY, *FAILING))
    data = whole * (6 * 2**20 // len(whole))
    assert find_in(pieces(io.BytesIO(data)), failures())


def test_a_log_gives_the_same_matches_in_pieces() -> None:
    lines = [line for path in (*FAILING, *HEALTHY) for line in path.read_bytes().splitlines(keepends=True)]
    random.Random(3).shuffle(lines)
    for data in (
        b"".join(lines),
        "".join(lines_of(FAILING)).encode("utf-16"),
        b"x" * 3 * PIECE + b" OMP: Error #15",
    ):
        parts = list(pieces(io.BytesIO(data)))
        assert "".join(part.text[part.start : part.stop] for part in parts) == read(data).text
        assert max(len(part.text) for part in parts) <= 3 * PIECE
        assert find_in(parts, failures()) == find(read(data), failures())


def lines_of(paths: Iterable[Path]) -> list[str]:
    return [path.read_text(encoding="utf-8") for path in paths] * 20


def test_a_failure_and_its_end_may_be_in_different_pieces() -> None:
    begun = b"      Precompiled wheel not found. Building from source...\n"
    filler = b"compiling\n" * (PIECE // 5)
    done = b"Successfully installed flash-attn-2.8.3\n"
    assert [seen.failure.id for seen in find_in(pieces(io.BytesIO(begun + filler)), failures())] == ["D01"]
    assert find_in(pieces(io.BytesIO(begun + filler + done)), failures()) == ()


def test_the_prefilter_misses_no_text() -> None:
    texts = sorted({literal(symptom.pattern) for row in failures().failures for symptom in row.symptoms})
    prefilter = Prefilter(texts)
    for text in texts:
        assert text in set(prefilter.candidates(f"before{text}after"))
        assert text in set(prefilter.candidates(text))
    assert not set(prefilter.candidates("Step 10 of 300, loss 2.31, 1042 tokens/s"))


# The parser of re, a separate module until Python 3.10
sre_parse: Any = importlib.import_module("re._parser" if sys.version_info >= (3, 11) else "sre_parse")


def steps(parsed: Any) -> int:
    """At most this many ways of matching are tried from one place: the product of the lengths of all repetitions."""
    product = 1
    for operation, arguments in parsed:
        name = str(operation)
        if "REPEAT" in name:
            least, most, repeated = arguments
            product *= (int(most) - int(least) + 1) * steps(repeated)
        elif name == "BRANCH":
            product *= sum(steps(branch) for branch in arguments[1])
        elif name == "SUBPATTERN":
            product *= steps(arguments[3])
        elif "ASSERT" in name:
            product *= steps(arguments[1])
    return product


def patterns_of(symptom: Symptom) -> Iterator[str]:
    around = (symptom.near, symptom.not_near, symptom.package, symptom.names)
    yield from (symptom.pattern, *symptom.unless, *filter(None, around))


PATTERNS = sorted({each for row in failures().failures for s in row.symptoms for each in patterns_of(s)})


def test_no_line_can_make_a_pattern_slow() -> None:
    """From each place a limited number of ways is tried, so that time is proportional to the length of a log."""
    tried = {pattern: steps(sre_parse.parse(bounded(pattern))) for pattern in PATTERNS}
    assert {pattern: count for pattern, count in tried.items() if count > 3_000_000} == {}
    assert steps(sre_parse.parse("a*b")) > 3_000_000, "an unlimited repetition would be found"


@pytest.mark.parametrize(
    ("pattern", "limited"),
    [
        ("a.*b", "a.{0,400}b"),
        (r"\S+x\d*", r"\S{1,150}x\d{0,8}"),
        (r"[^']{200,}\+", r"[^']{200,350}\+"),
        (r"(?P<name>\w+)\.[\\/]+", r"(?P<name>\w{1,60})\.[\\/]{1,8}"),
        ("[+*] .{0,40}", "[+*] .{0,40}"),
    ],
)
def test_repetitions_are_limited(pattern: str, limited: str) -> None:
    assert bounded(pattern) == limited


def test_lines_that_repeat_the_start_of_a_failure_are_read() -> None:
    """Each line repeats the fixed text of a pattern, without the rest. A quadratic search would exceed the time limit."""
    starts = sorted({literal(s.pattern) for row in failures().failures for s in row.symptoms})
    lines = [f"{start} " * (2_000 // (len(start) + 1)) for start in starts]
    for place in placed("\n".join(lines).encode()):
        assert place.sighting.text.isprintable()


REPEATED = [
    "libcuda.so",
    "[WinError 5] ",
    "flash_attn-2.8.3+cu12torch",
    "Successfully installed ",
    "fatal error C1083: '",
    "OSError: [Errno 2] No such file or directory: ",
    "nvcc",
    "Found GPU0 ",
    "xFormers was built for",
    "UnicodeDecodeError",
    "flash_attn_" + "0" * 32,
    "DLL load failed while importing a: ",
    "undefined symbol: _ZN3c10",
    "x requires torch==1, but you have ",
    "x" * 3_000 + " requires torch==" + "x" * 500,
    'File "/site-packages/a/b.py"',
    "(os error 5) C:\\ ",
    "{'a': Retrying INFO ",
    "\x1b]0;",
]


@pytest.mark.parametrize("text", REPEATED)
@pytest.mark.parametrize("in_lines", [False, True], ids=["in one line", "in lines"])
def test_a_long_repetitive_log_is_read(text: str, in_lines: bool) -> None:
    tail = "\n  Attempting uninstall: torch\nflash_attn-2.8.3+cu12torch ImportError"
    line = text * (100 if in_lines else 1)
    data = (line + "\n" * in_lines) * (2**19 // len(line)) + tail
    for place in placed(data.encode()):
        assert place.sighting.text.isprintable()


@given(st.text(alphabet="\x00\x07\x1b[]0;m\x9b\u202e\u2028 \n", max_size=40))
def test_no_control_character_reaches_the_terminal(noise: str) -> None:
    text = f"{noise}OMP: Error #15: {noise}\nModuleNotFoundError: No module named 'xformers' {noise}"
    for place in placed(text.encode()):
        assert place.sighting.text.isprintable()
        assert (place.sighting.package or "").isprintable()


@pytest.mark.parametrize(
    "line",
    [
        "INFO: the reason was RuntimeError: CUDA error: device-side assert triggered",
        "2026-11-30 - [INFO] backend: {'reason': \"ImportError: No module named 'triton'\"}",
        "{'error': 'OMP: Error #15'}",
        "skipped (ModuleNotFoundError: No module named 'triton')",
    ],
)
def test_words_that_a_line_only_mentions_are_not_an_error(line: str) -> None:
    assert named(line.encode()) == []


@pytest.mark.parametrize(
    "before",
    [
        "",
        "stderr: ",
        "2026-08-05 - [ERROR] ",
        "[rank0]: ",
        "12:01 [Warning] [ComfyUI-0/STDERR] ",
        "      ",
        "ERROR    ",
    ],
)
def test_an_exception_after_a_loggers_prefix_is_an_error(before: str) -> None:
    line = f"{before}ModuleNotFoundError: No module named 'triton'"
    assert [(place.sighting.failure.id, place.certain) for place in placed(line.encode())] == [("F01", True)]


def test_a_windows_error_reported_by_uv_is_recognized() -> None:
    there = "error: C:\\v\\x: A required privilege is not held by the client. (os error 1314)"
    assert named(there.encode()) == ["A19"]
    assert named(there.replace("C:\\v\\", "/v/").encode()) == [], "these numbers have other meanings on Linux"


def test_errors_come_before_warnings() -> None:
    warning = b"UserWarning: Attempted to use ninja but we could not find ninja.\n"
    assert named(warning + b"torch.OutOfMemoryError: CUDA out of memory.\n") == ["C22", "E11"]


def test_two_failing_packages_are_two_failures() -> None:
    line = "ImportError: DLL load failed while importing {}: The specified procedure could not be found.\n"
    found = placed((line.format("exllamav2_ext") + line.format("gsplat_cuda")).encode())
    assert [place.sighting.package for place in found] == ["exllamav2_ext", "gsplat_cuda"]


def test_decoding_keeps_ascii_text_in_any_code_page() -> None:
    assert read("Größe: Error #15".encode("cp850")).text.endswith(": Error #15")
    assert read("Größe".encode()).text == "Größe"
    assert read(b"\xfe\xff" + "Größe".encode("utf-16-be")).text == "Größe"


def test_the_table_names_no_group_twice() -> None:
    assert list(failures().groups) == ["A", "B", "C", "D", "E", "F"]
