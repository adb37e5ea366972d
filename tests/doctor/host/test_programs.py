"""The doctor survives programs that hang, crash, print garbage or leave child processes behind."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from doctor.host import Absent, Completed, Found, Reading, Unreadable, process_tree
from doctor.host.live import live_host
from doctor.host.programs import decode, find_on_path

WINDOWS = sys.platform == "win32"
CRASH = 0xC0000005 if WINDOWS else -11
# The child sleeps for longer than a test may take: a test that waits for its end fails
BEGIN_CHILD = "import subprocess, sys; child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(3600)']);"


def python(code: str, timeout: float = 30) -> Reading[Completed]:
    return live_host().run([sys.executable, "-c", code], timeout)


def completed(code: str) -> Completed:
    reading = python(code)
    assert isinstance(reading, Found), reading
    return reading.value


def is_gone(pid: int) -> bool:
    """Whether the process has ended, or ends soon."""
    for _ in range(600):
        try:
            if psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
                return True
        except psutil.NoSuchProcess:
            return True
        time.sleep(0.05)
    return False


@pytest.fixture
def program(tmp_path: Path) -> Callable[[str], Path]:
    """Create an empty program of that name in a folder with a space and a non-ASCII letter."""

    def make(name: str) -> Path:
        path = tmp_path / "bin ż" / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"")
        path.chmod(0o755)
        return path

    return make


# -- running


def test_both_streams_and_the_exit_code_are_returned() -> None:
    code = "import sys; print('out'); print('err', file=sys.stderr); sys.exit(3)"
    assert completed(code) == Completed(exit_code=3, stdout="out\n", stderr="err\n")


def test_standard_input_is_closed() -> None:
    assert completed("import sys; print(repr(sys.stdin.read()))").stdout == "''\n"


def test_arguments_reach_the_program_untouched() -> None:
    arguments = ["a b", '"', "$HOME %PATH%", "ż", "", "*", "&& echo"]
    ran = live_host().run([sys.executable, "-c", "import sys; print(sys.argv[1:])", *arguments], 30)
    assert isinstance(ran, Found) and ran.value.stdout == f"{arguments}\n"


def test_a_crash_is_an_exit_code() -> None:
    crash = f"import os; os._exit({CRASH - 2**32})" if WINDOWS else "import os; os.kill(os.getpid(), 11)"
    assert completed(crash).exit_code == CRASH


def test_a_hung_program_is_killed_with_its_children(tmp_path: Path) -> None:
    note = tmp_path / "pid"
    code = f"{BEGIN_CHILD} open({str(note)!r}, 'w').write(str(child.pid)); child.wait()"
    assert python(code, timeout=3) == Unreadable(f"{Path(sys.executable).name} did not answer within 3 s")
    assert is_gone(int(note.read_text()))


def test_a_child_that_outlives_its_parent_does_not_block_the_doctor() -> None:
    ran = completed(f"{BEGIN_CHILD} print(child.pid)")
    assert is_gone(int(ran.stdout))


@pytest.mark.skipif(WINDOWS, reason="Windows has no sessions to leave")
def test_a_child_that_left_the_session_is_killed_too(tmp_path: Path) -> None:
    note = tmp_path / "pid"
    detached = BEGIN_CHILD.replace("])", "], start_new_session=True)")
    python(f"{detached} open({str(note)!r}, 'w').write(str(child.pid)); child.wait()", timeout=3)
    assert is_gone(int(note.read_text()))


def test_a_program_that_prints_without_end_is_killed() -> None:
    ran = python("while True: print('x' * 65536)", timeout=3600)
    assert ran == Unreadable(f"{Path(sys.executable).name} printed more than 4 MiB")


def test_undecodable_output_becomes_text() -> None:
    ran = completed(r"import sys; sys.stdout.buffer.write(bytes(range(128, 256)) + b'\r\nend')")
    assert ran.stdout.endswith("\nend")


def test_variables_are_added_for_the_child_alone() -> None:
    code = "import os; print(os.environ['AIOS_TEST'], 'PATH' in os.environ)"
    ran = live_host().run([sys.executable, "-c", code], 30, {"AIOS_TEST": "żółw"})
    assert isinstance(ran, Found) and ran.value.stdout == "żółw True\n"
    assert "AIOS_TEST" not in os.environ


def test_a_file_that_is_not_a_program_is_unreadable(program: Callable[[str], Path]) -> None:
    no_program = program("broken.exe")
    no_program.write_bytes(b"\x7fELF but not really")
    ran = live_host().run([str(no_program)], 5)
    assert isinstance(ran, Unreadable) and ran.reason.startswith("broken.exe could not be started: ")


def test_a_missing_program_is_absent(tmp_path: Path) -> None:
    assert live_host().run([str(tmp_path / "nothing")], 5) == Absent()
    assert live_host().run(["aios-has-no-such-program"], 5) == Absent()


# -- finding


def test_a_program_is_found_by_its_bare_name(program: Callable[[str], Path]) -> None:
    tool = program("tool.exe")
    path = os.pathsep.join(["", "relative", str(tool.parent / "missing"), f'"{tool.parent}"'])
    assert find_on_path("tool.exe", path) == Found(str(tool))
    assert find_on_path("other.exe", path) == Absent()
    assert isinstance(find_on_path(str(tool), path), Unreadable)


def test_the_current_directory_is_never_searched(
    program: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    tool = program("tool.exe")
    monkeypatch.chdir(tool.parent)
    for path in ("", ".", os.pathsep, f".{os.pathsep}"):
        assert find_on_path("tool.exe", path) == Absent()
    monkeypatch.setenv("PATH", ".")
    assert live_host().run(["tool.exe"], 5) == Absent()


def test_extensions_complete_a_name_that_has_none(program: Callable[[str], Path]) -> None:
    bare, script, binary = program("tool"), program("tool.cmd"), program("tool.exe")
    folder = str(bare.parent)
    assert find_on_path("tool", folder, (".com", ".exe", ".cmd")) == Found(str(binary))
    assert find_on_path("tool.cmd", folder, (".com", ".exe", ".cmd")) == Found(str(script))
    assert find_on_path("tool", folder) == Found(str(bare))


@pytest.mark.skipif(WINDOWS, reason="Windows has no such permission")
def test_a_file_without_execute_permission_is_not_a_program(program: Callable[[str], Path]) -> None:
    tool = program("tool")
    tool.chmod(0o644)
    assert find_on_path("tool", str(tool.parent)) == Absent()


# -- decoding


@pytest.mark.parametrize(
    ("output", "code_page", "text"),
    [
        ("żółw\r\n".encode(), 437, "żółw\n"),  # git and vswhere -utf8
        ("Größe".encode("cp850"), 850, "Größe"),
        ("Размер".encode("cp866"), 866, "Размер"),
        ("サイズ".encode("cp932"), 932, "サイズ"),
        (b"\x81", 1252, "\\x81"),  # no letter there
        (b"\xff", None, "\\xff"),
        (b"a\xff", 65000, "a\\xff"),  # a code page that Python has no table for
    ],
)
def test_output_is_read_in_the_code_page_that_wrote_it(output: bytes, code_page: int, text: str) -> None:
    assert decode(output, code_page) == text


def test_no_program_is_started_while_the_doctor_exits(monkeypatch: pytest.MonkeyPatch) -> None:
    """A probe whose program was killed may continue with the next one."""
    monkeypatch.setattr(process_tree, "_exiting", True)
    ran = python("print('started')")
    assert isinstance(ran, Unreadable) and ran.reason.endswith("the doctor is exiting")
