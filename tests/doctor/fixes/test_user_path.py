"""The user's part of PATH is replaced and restored exactly, whatever it was; the PATH of this process follows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from doctor.actions import EditUserPath, MakeDirectory, SetUserEnvironmentVariable
from doctor.host import RegistryValue
from doctor.host.base import SYSTEM_ENVIRONMENT, USER_ENVIRONMENT
from doctor.host.machine import RecordedMachine
from tests.doctor.fake_machine import FakeHost, identity

TEXT = st.text(st.characters(codec="utf-8"), max_size=40)
STATES = st.none() | st.builds(RegistryValue, type=st.sampled_from(["REG_SZ", "REG_EXPAND_SZ"]), value=TEXT)
OTHER_TYPES = st.sampled_from(
    [
        RegistryValue(type="REG_DWORD", value=1),
        RegistryValue(type="REG_MULTI_SZ", value=("C:\\a", "C:\\b")),
        RegistryValue(type="REG_BINARY", value="00ff"),
    ]
)


def host_with(name: str, value: RegistryValue | None, **environment: str) -> FakeHost:
    machine = {
        "identity": identity(),
        "environment": {"USERPROFILE": "C:\\Users\\Zoë B", **environment},
        "registry": {USER_ENVIRONMENT: {name: value}, SYSTEM_ENVIRONMENT: {name: None}},
    }
    return FakeHost(RecordedMachine.model_validate(machine))


@given(before=STATES | OTHER_TYPES, after=STATES)
def test_the_path_is_restored_with_its_value_and_type(
    before: RegistryValue | None, after: RegistryValue | None
) -> None:
    host = host_with("Path", before)
    action = EditUserPath(state=after)
    inverse = action.inverse(action.read(host))
    action.apply(host)
    assert host.machine.registry[USER_ENVIRONMENT]["Path"] == after
    assert action.is_applied(host)
    inverse.apply(host)
    assert host.machine.registry[USER_ENVIRONMENT]["Path"] == before


@given(before=STATES | OTHER_TYPES, after=STATES)
def test_a_variable_is_restored_with_its_value_and_type(
    before: RegistryValue | None, after: RegistryValue | None
) -> None:
    host = host_with("HF_HOME", before)
    action = SetUserEnvironmentVariable(name="HF_HOME", state=after)
    inverse = action.inverse(action.read(host))
    action.apply(host)
    assert host.machine.registry[USER_ENVIRONMENT]["HF_HOME"] == after
    inverse.apply(host)
    assert host.machine.registry[USER_ENVIRONMENT]["HF_HOME"] == before


EXPAND = RegistryValue(type="REG_EXPAND_SZ", value=r"%USERPROFILE%\bin;C:\tools;C:\tools")
SHORTER = RegistryValue(type="REG_EXPAND_SZ", value=r"%USERPROFILE%\bin;C:\tools")


@pytest.mark.parametrize(
    ("present", "then"),
    [
        (r"C:\Windows;C:\Users\Zoë B\bin;C:\tools;C:\tools", r"C:\Windows;C:\Users\Zoë B\bin;C:\tools"),
        (r"C:\Users\Zoë B\bin;C:\tools;C:\tools", r"C:\Users\Zoë B\bin;C:\tools"),
        (r"C:\venv;C:\Windows", r"C:\venv;C:\Windows"),  # a terminal that took another turn
        (r"D:\C:\Users\Zoë B\bin;C:\tools;C:\tools", r"D:\C:\Users\Zoë B\bin;C:\tools;C:\tools"),
    ],
)
def test_this_process_follows_if_its_path_ends_with_the_users(present: str, then: str) -> None:
    host = host_with("Path", EXPAND, PATH=present)
    before = host.machine
    action = EditUserPath(state=SHORTER)
    inverse = action.inverse(action.read(host))
    action.apply(host)
    assert host.variable("PATH") == then
    inverse.apply(host)
    assert host.machine == before


@pytest.mark.parametrize(("before", "after"), [(EXPAND, None), (None, EXPAND)])
def test_an_added_or_removed_user_path_changes_the_path_of_this_process(
    before: RegistryValue | None, after: RegistryValue | None
) -> None:
    with_it, without = r"C:\Windows;C:\Users\Zoë B\bin;C:\tools;C:\tools", r"C:\Windows"
    host = host_with("Path", before, PATH=with_it if before else without)
    action = EditUserPath(state=after)
    inverse = action.inverse(action.read(host))
    action.apply(host)
    assert host.variable("PATH") == (with_it if after else without)
    inverse.apply(host)
    assert host.variable("PATH") == (with_it if before else without)


@given(st.lists(st.sampled_from(["a", "b", "ü"]), min_size=1, max_size=4), st.integers(0, 3))
def test_undo_removes_the_created_folders_and_no_others(names: list[str], already: int) -> None:
    path = "C:\\" + "\\".join(names)
    folders: dict[str, Any] = {"C:\\": []}
    for depth in range(1, len(names) + 1):
        folders["C:\\" + "\\".join(names[:depth])] = [] if depth <= already else None
    machine = RecordedMachine.model_validate({"identity": identity(), "directories": folders})
    host = FakeHost(machine)
    MakeDirectory(path="C:\\").apply(host)  # is there: nothing comes
    before = host.machine
    action = MakeDirectory(path=path)
    inverse = action.inverse(action.read(host))
    action.apply(host)
    assert action.is_applied(host)
    inverse.apply(host)
    gone = {name for name, names_in in host.machine.directories.items() if names_in is None}
    assert gone == {name for name, names_in in before.directories.items() if names_in is None}


def test_an_old_undo_names_the_path_that_it_restores(machine: Callable[..., FakeHost]) -> None:
    host = machine(registry={USER_ENVIRONMENT: {"Path": EXPAND}})
    inverse = EditUserPath(state=SHORTER).inverse(EditUserPath(state=SHORTER).read(host))
    assert str(EXPAND.value) in inverse.describe()
