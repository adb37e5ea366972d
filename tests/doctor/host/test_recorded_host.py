"""A recorded machine answers as the real one did, and can be changed in memory and restored exactly."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from doctor.host import Absent, Completed, ElevationRefused, Found, Host, RegistryValue, Unreadable
from doctor.host.machine import MachineFileError, RecordedMachine, load_machine
from doctor.host.recorded import RecordedHost

FILE_SYSTEM = r"HKLM\SYSTEM\FileSystem"
ONE = RegistryValue(type="REG_DWORD", value=1)
NOT_RECORDED = Unreadable("not in the recording")


@pytest.fixture
def host(windows: RecordedMachine) -> RecordedHost:
    return RecordedHost(windows)


def test_absent_unreadable_and_not_recorded_are_distinct(host: RecordedHost) -> None:
    assert host.registry_value(FILE_SYSTEM, "LongPathsEnabled") == Absent()
    assert host.registry_value(FILE_SYSTEM, "Locked") == Unreadable("access denied")
    assert host.registry_value(FILE_SYSTEM, "Other") == NOT_RECORDED
    assert host.registry_value(r"HKLM\Other", "Other") == NOT_RECORDED
    assert host.nvml() == host.find_program("cl") == host.run(["cl"], 1) == NOT_RECORDED
    assert host.git_setting("user.name") == host.distribution("torch") == NOT_RECORDED
    assert host.registry_subkeys(r"HKLM\SOFTWARE\None") == Absent()
    assert host.variable("EMPTY") is None


def test_names_are_compared_as_windows_compares_them(host: RecordedHost) -> None:
    assert host.registry_value(r"hklm\system\FILESYSTEM", "longpathsenabled") == Absent()
    assert host.variable("PATH") == r"C:\Windows;C:\Git\cmd"
    assert host.variable_names("te") == ("TEMP",)
    assert host.read_file("c:/NOTES.txt") == Found("héllo".encode())
    assert host.list_directory("C:/") == Found(("Users", "notes.txt", "raw"))
    assert host.distribution("Flash.Attn") == host.distribution("flash-attn") != Absent()


def test_names_are_compared_as_linux_compares_them(linux_identity: Any) -> None:
    host = RecordedHost(RecordedMachine(identity=linux_identity, environment={"Path": "x"}))
    assert host.variable("PATH") is None and host.variable("Path") == "x"


def test_bytes_that_are_not_text_are_kept(host: RecordedHost) -> None:
    assert host.read_file(r"C:\raw") == Found(b"\xff")


def test_relative_paths_are_refused(host: RecordedHost) -> None:
    assert host.read_file("notes.txt") == Unreadable("notes.txt is not an absolute path")
    assert host.list_directory(r"\Temp") == Unreadable(r"\Temp is not an absolute path")


def test_commands_are_named_portably(host: RecordedHost) -> None:
    assert host.run([host.identity.executable, "-c", "pass"], 1) == Found(Completed(exit_code=0))
    by_name, by_path = host.run(["git", "--version"], 1), host.run([r"C:\Git\cmd\git.exe", "--version"], 1)
    assert by_name == by_path == Found(Completed(exit_code=0, stdout="git version 2.47\n"))
    assert host.run(["git", "fsck"], 1) == Unreadable("git.exe did not answer within 10 s")


def test_an_absent_program_does_not_run_even_if_a_result_is_recorded(host: RecordedHost) -> None:
    assert host.run(["nvcc", "--version"], 1) == Absent()


def test_changes_are_visible_and_can_be_restored_exactly(
    host: RecordedHost, windows: RecordedMachine
) -> None:
    long_temp = windows.environment["TEMP"]
    host.set_registry_value(FILE_SYSTEM.lower(), "longpathsenabled", ONE)
    host.set_variable("temp", r"C:\Temp")
    host.make_directory(r"C:\Temp\deep")
    host.write_file(r"C:\gone", b"\x00")
    host.set_git_setting("core.longpaths", "true")

    assert host.registry_value(FILE_SYSTEM, "LongPathsEnabled") == Found(ONE)
    assert host.variable("TEMP") == r"C:\Temp"
    assert host.list_directory(r"C:\Temp") == Found(("deep",))
    assert host.list_directory("C:\\") == Found(("Users", "notes.txt", "raw", "Temp", "gone"))
    assert host.read_file(r"C:\gone") == Found(b"\x00")
    assert host.git_setting("core.longpaths") == Found("true")
    assert host.machine != windows

    host.set_registry_value(FILE_SYSTEM, "LongPathsEnabled", None)
    host.set_variable("TEMP", long_temp)
    host.remove_directory(r"C:\Temp\deep")
    host.remove_directory(r"C:\Temp")
    host.write_file(r"C:\gone", None)
    host.set_git_setting("core.longpaths", None)
    assert host.machine == windows


def test_the_machine_given_is_never_changed(host: RecordedHost, windows: RecordedMachine) -> None:
    before = windows.model_copy(deep=True)
    host.set_registry_value(FILE_SYSTEM, "LongPathsEnabled", ONE)
    host.machine.environment["TEMP"] = "through the copy"
    assert windows == before and host.variable("TEMP") == windows.environment["TEMP"]


def test_only_an_administrator_writes_below_hklm(windows: RecordedMachine) -> None:
    user = windows.model_copy(update={"identity": windows.identity.model_copy(update={"elevated": False})})
    host = RecordedHost(user)
    with pytest.raises(PermissionError, match="administrator"):
        host.set_registry_value(FILE_SYSTEM, "LongPathsEnabled", ONE)
    host.set_registry_value(r"HKCU\Environment", "TMP", RegistryValue(type="REG_SZ", value="C:\\Temp"))
    assert isinstance(host.set_registry_values_elevated([], 1), ElevationRefused)


def test_what_cannot_be_read_cannot_be_written(host: RecordedHost) -> None:
    with pytest.raises(PermissionError, match="access denied"):
        host.set_registry_value(FILE_SYSTEM, "Locked", ONE)


def test_folders_go_only_when_empty(host: RecordedHost) -> None:
    with pytest.raises(OSError, match="not empty"):
        host.remove_directory("C:\\")
    with pytest.raises(FileNotFoundError):
        host.remove_directory(r"C:\Temp")


def test_the_users_git_setting_is_distinct_from_the_systems(windows: RecordedMachine) -> None:
    host = RecordedHost(windows.model_copy(update={"git_system_settings": {"core.longpaths": "true"}}))
    assert host.git_setting("core.longpaths") == Found("true")
    assert host.git_setting("core.longpaths", "user") == Absent()
    without_git = RecordedHost(windows.model_copy(update={"programs": {"git": None}}))
    assert without_git.git_setting("core.longpaths") == Unreadable("git is not installed")


def test_equal_files_are_equal_recordings_however_they_are_written(windows: RecordedMachine) -> None:
    in_base64 = windows.model_dump()
    in_base64["files"][r"C:\notes.txt"] = {"base64": "aMOpbGxv"}
    assert RecordedMachine.model_validate(in_base64) == windows


def test_a_machine_survives_its_file(windows: RecordedMachine, tmp_path: Path) -> None:
    file = tmp_path / "machine ż.json"
    file.write_text(windows.to_json(), encoding="utf-8", newline="\n")
    assert load_machine(file) == windows
    host: Host = RecordedHost(load_machine(file))  # mypy: it is a host
    assert host.identity == windows.identity


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (None, "Cannot read the recorded machine"),
        ("", "file: Invalid JSON"),
        ("[]", "object"),
        ("{}", "identity: Field required"),
        ('{"schema_version": 2}', "schema_version: Input should be 1"),
        ('{"registri": {}}', "registri: Extra inputs are not permitted"),
    ],
)
def test_an_unusable_file_is_one_clear_error(tmp_path: Path, content: str | None, complaint: str) -> None:
    file = tmp_path / "machine.json"
    if content is not None:
        file.write_text(content, encoding="utf-8")
    with pytest.raises(MachineFileError) as raised:
        load_machine(file)
    message = str(raised.value)
    assert str(file) in message and complaint in message and "aios doctor record" in message
