from __future__ import annotations

import pytest
from pydantic import TypeAdapter

from doctor.actions import (
    Action,
    MakeDirectory,
    SetGitSetting,
    SetRegistryValue,
    SetUserEnvironmentVariable,
    UnreadableStateError,
)
from doctor.host import RegistryValue
from doctor.host.base import SYSTEM_ENVIRONMENT
from tests.doctor.fake_machine import FILE_SYSTEM, enable_long_paths, make_temp, short_temp

EXPAND = RegistryValue(type="REG_EXPAND_SZ", value="%USERPROFILE%\\T")


@pytest.mark.parametrize(
    "action",
    [
        enable_long_paths(),
        short_temp(),
        make_temp(),
        MakeDirectory(path="C:\\Temp\\deep"),
        SetGitSetting(name="core.longpaths", state="true"),
    ],
)
def test_applying_and_then_applying_the_inverse_restores_the_machine(machine, action) -> None:
    host = machine(programs={"git": "C:\\git.exe"}, git_settings={"core.longpaths": None})
    before = host.machine
    inverse = action.inverse(action.read(host))
    assert not action.is_applied(host)
    action.apply(host)
    assert action.is_applied(host)
    inverse.apply(host)
    assert host.machine == before


@pytest.mark.parametrize(
    "present", [RegistryValue(type="REG_DWORD", value=0), RegistryValue(type="REG_SZ", value="1")]
)
def test_a_value_of_another_type_is_another_state_and_restored_with_its_type(machine, present) -> None:
    host = machine(registry={FILE_SYSTEM: {"LongPathsEnabled": present}})
    action = enable_long_paths()
    assert not action.is_applied(host)
    inverse = action.inverse(action.read(host))
    action.apply(host)
    inverse.apply(host)
    assert host.machine.registry[FILE_SYSTEM]["LongPathsEnabled"] == present


def test_an_unreadable_state_is_neither_absent_nor_changed(machine) -> None:
    host = machine(registry={FILE_SYSTEM: {"LongPathsEnabled": {"unreadable": "access denied"}}})
    with pytest.raises(UnreadableStateError, match="LongPathsEnabled: access denied"):
        enable_long_paths().is_applied(host)


def test_a_user_variable_also_reaches_this_process_expanded(machine) -> None:
    host = machine()
    SetUserEnvironmentVariable(name="TEMP", state=EXPAND).apply(host)
    assert host.machine.registry[r"HKCU\Environment"]["TEMP"] == EXPAND
    assert host.variable("TEMP") == "C:\\Users\\Zoë B\\T"


def test_without_the_users_variable_the_systems_is_used(machine) -> None:
    system = {"TEMP": RegistryValue(type="REG_EXPAND_SZ", value="%USERPROFILE%\\system")}
    host = machine(registry={r"HKCU\Environment": {"TEMP": EXPAND}, SYSTEM_ENVIRONMENT: system})
    SetUserEnvironmentVariable(name="TEMP", state=None).apply(host)
    assert host.variable("TEMP") == "C:\\Users\\Zoë B\\system"


def test_a_folder_is_created_with_its_parents_and_removed_with_them(machine) -> None:
    host = machine()
    action = MakeDirectory(path="C:\\Temp\\deep")
    assert action.read(host) == ("C:\\Temp", "C:\\Temp\\deep")
    inverse = action.inverse(action.read(host))
    assert "C:\\Temp\\deep, C:\\Temp" in inverse.describe()


def test_only_machine_wide_values_need_an_administrator() -> None:
    own = SetRegistryValue(key=r"HKCU\Software\X", name="y", state=None)
    assert enable_long_paths().needs_elevation
    assert not any(action.needs_elevation for action in (own, short_temp(), make_temp()))


def test_an_action_survives_json() -> None:
    adapter = TypeAdapter(Action)
    for action in (enable_long_paths(), short_temp(), MakeDirectory(path="C:\\x", state=("C:\\x",))):
        assert adapter.validate_json(adapter.dump_json(action)) == action
