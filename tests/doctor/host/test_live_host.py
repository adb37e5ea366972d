"""This machine's identity, files and environment."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import psutil
import pytest

from doctor.host import Absent, ElevationRefused, Found, Host, RegistryValue, Unreadable
from doctor.host.live import live_host

WINDOWS = sys.platform == "win32"


# -- identity


def test_identity_agrees_with_what_python_says(host: Host) -> None:
    identity = host.identity
    assert identity.os == ("windows" if WINDOWS else "macos" if sys.platform == "darwin" else "linux")
    assert identity.python == ".".join(map(str, sys.version_info[:3]))
    assert identity.python_bits == (64 if sys.maxsize > 2**32 else 32)
    assert identity.executable == sys.executable
    assert Path(identity.home) == Path.home()
    assert Path(identity.site_packages).is_dir()
    assert identity.user and identity.host_name and identity.os_build[0].isdigit()
    assert (identity.oem_code_page is None) == (not WINDOWS)


def test_the_platform_module_is_not_used() -> None:
    """On Windows, `platform` queries WMI, which can hang or crash the process."""
    for file in Path(__file__).parents[3].joinpath("doctor").rglob("*.py"):
        source = file.read_text(encoding="utf-8")
        assert "import platform\n" not in source and "from platform " not in source, file


# -- environment


def test_variables_change_for_this_process_and_its_children(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AIOS_TEST", raising=False)
    host.set_variable("AIOS_TEST", "żółw")
    assert host.variable("AIOS_TEST") == "żółw" and "AIOS_TEST" in host.variable_names("AIOS_")
    code = "import os; print(os.environ['AIOS_TEST'])"
    ran = host.run([sys.executable, "-c", code], 30)
    assert isinstance(ran, Found) and ran.value.stdout == "żółw\n"
    host.set_variable("AIOS_TEST", None)
    host.set_variable("AIOS_TEST", None)
    assert host.variable("AIOS_TEST") is None


@pytest.mark.skipif(WINDOWS, reason="variables are Unicode there")
def test_a_variable_that_is_not_text_is_escaped(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIOS_TEST", os.fsdecode(b"a\xff"))
    assert host.variable("AIOS_TEST") == "a\\udcff"


# -- files


def test_files_are_written_read_and_removed(host: Host, tmp_path: Path) -> None:
    folder = tmp_path / "a b" / "ż"
    host.make_directory(str(folder))
    host.make_directory(str(folder))
    host.write_file(str(folder / "f"), b"\x00\xff")
    assert host.read_file(str(folder / "f")) == Found(b"\x00\xff")
    assert host.list_directory(str(folder)) == Found(("f",))
    with pytest.raises(OSError):
        host.remove_directory(str(folder))
    host.write_file(str(folder / "f"), None)
    host.remove_directory(str(folder))
    assert host.list_directory(str(folder)) == Absent()
    assert host.read_file(str(folder / "f")) == Absent()


def test_a_file_is_not_an_absent_folder(host: Host, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"")
    assert isinstance(host.list_directory(str(file)), Unreadable)
    assert isinstance(host.read_file(str(tmp_path)), Unreadable)


@pytest.mark.skipif(WINDOWS, reason="pipes have no place in folders there")
def test_a_pipe_is_unreadable_and_does_not_block(host: Host, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pip.conf")
    assert host.read_file(str(tmp_path / "pip.conf")) == Unreadable("it is a pipe, not a regular file")


def test_a_file_of_200_megabytes_is_not_read_into_memory(host: Host, tmp_path: Path) -> None:
    with (tmp_path / "pip.conf").open("wb") as file:
        file.truncate(200_000_000)
    assert host.read_file(str(tmp_path / "pip.conf")) == Unreadable("it is too large: more than 64 MiB")


def test_paths_that_no_system_allows_are_unreadable(host: Host, tmp_path: Path) -> None:
    for path in ("relative", str(tmp_path / "nul\0byte")):
        assert isinstance(host.read_file(path), Unreadable)
        assert isinstance(host.list_directory(path), Unreadable)
    with pytest.raises(OSError, match="not an absolute path"):
        host.make_directory("relative")


@pytest.mark.skipif(
    WINDOWS or live_host().identity.elevated, reason="needs an ordinary user of a POSIX system"
)
def test_a_locked_folder_is_unreadable(host: Host, tmp_path: Path) -> None:
    locked = tmp_path / "locked"
    locked.mkdir(mode=0)
    assert host.list_directory(str(locked)) == Unreadable("access denied")


# -- what systems without a registry answer


@pytest.mark.skipif(WINDOWS, reason="Windows has a registry")
def test_a_system_without_registry_says_so(host: Host) -> None:
    assert host.registry_value(r"HKCU\Environment", "TEMP") == Absent()
    assert host.registry_subkeys(r"HKLM\SOFTWARE") == Absent()
    with pytest.raises(OSError, match="no registry"):
        host.set_registry_value(r"HKCU\Environment", "TEMP", RegistryValue(type="REG_SZ", value="x"))
    assert isinstance(host.set_registry_values_elevated([], 1), ElevationRefused)


# -- the machine


def test_the_machine_started_before_this_program_and_not_long_ago(host: Host) -> None:
    reading = host.boot_time()
    assert isinstance(reading, Found)
    assert time.time() - 5 * 365 * 86400 < reading.value < psutil.Process().create_time() + 1


def test_processors_are_those_that_this_process_may_use(host: Host) -> None:
    allowed = len(psutil.Process().cpu_affinity() or ()) if hasattr(psutil.Process, "cpu_affinity") else None
    assert host.identity.processor_count in (allowed, psutil.cpu_count())


# -- moving a folder


def test_a_folder_moves_with_what_is_in_it(host: Host, tmp_path: Path) -> None:
    (tmp_path / "a b").mkdir()
    (tmp_path / "a b" / "file").write_bytes(b"x")
    host.move_folder(str(tmp_path / "a b"), str(tmp_path / "ż"))
    assert not (tmp_path / "a b").exists()
    assert (tmp_path / "ż" / "file").read_bytes() == b"x"


def test_a_folder_is_never_moved_over_another(host: Host, tmp_path: Path) -> None:
    """Linux would replace an empty one."""
    for name in ("from", "to"):
        (tmp_path / name).mkdir()
    with pytest.raises(FileExistsError):
        host.move_folder(str(tmp_path / "from"), str(tmp_path / "to"))
    assert (tmp_path / "from").is_dir()
    with pytest.raises(FileNotFoundError):
        host.move_folder(str(tmp_path / "gone"), str(tmp_path / "new"))
    with pytest.raises(OSError, match="not an absolute path"):
        host.move_folder(str(tmp_path / "from"), "new")
