"""On any machine, an action makes its change, makes it only once, and undo restores every value."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given, reject
from hypothesis import strategies as st

from doctor.actions import (
    Action,
    EditUserPath,
    InstallPackages,
    MakeDirectory,
    MoveFolder,
    SetGitSetting,
    SetRegistryValue,
    SetUserEnvironmentVariable,
    WriteFile,
)
from doctor.fixes.executor import apply_steps, changes_in_effect, undo
from doctor.fixes.journal import ACTIONS, Journal
from doctor.fixes.plan import Step
from doctor.host import RegistryValue
from doctor.host.machine import FileContent, RecordedMachine
from doctor.host.recorded import RecordedHost
from tests.doctor.fake_machine import FILE_SYSTEM, identity

TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0%;"), max_size=20)
NUMBERS = st.integers(0, 2**32 - 1)
VALUES = st.one_of(
    st.builds(RegistryValue, type=st.sampled_from(["REG_SZ", "REG_EXPAND_SZ"]), value=TEXT),
    st.builds(RegistryValue, type=st.just("REG_DWORD"), value=NUMBERS),
    st.builds(RegistryValue, type=st.just("REG_MULTI_SZ"), value=st.lists(TEXT).map(tuple)),
    st.builds(RegistryValue, type=st.just("REG_BINARY"), value=st.binary(max_size=8).map(bytes.hex)),
)
STRINGS = st.builds(RegistryValue, type=st.sampled_from(["REG_SZ", "REG_EXPAND_SZ"]), value=TEXT)
CONTENTS = st.binary(max_size=40).map(FileContent.of)
VERSIONS = st.sampled_from(["1.0", "1.5.post1", "2.0rc1", "2.13.0", "2.13.0+cu130", "80.9.0"])
SPECIFIERS = st.sampled_from(["==1.0", ">=61", "==2.13.0", "~=1.5"])


@dataclass(frozen=True)
class Case:
    """A machine, an action on it, and a state of the same target that another program may set."""

    machine: dict[str, Any]
    action: Action
    foreign: Any


def perhaps(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.none() | values


@st.composite
def registry_cases(draw: st.DrawFn) -> Case:
    before, after, foreign = (draw(perhaps(VALUES)) for _ in range(3))
    key = draw(st.sampled_from([FILE_SYSTEM, r"HKCU\Software\X"]))
    action = SetRegistryValue(key=key, name="Value", state=after)
    return Case({"registry": {key: {"value": before}}}, action, foreign)


@st.composite
def variable_cases(draw: st.DrawFn) -> Case:
    before, after, foreign = (draw(perhaps(STRINGS)) for _ in range(3))
    environment = {"TEMP": before.value} if before else {}
    machine = {"registry": {r"HKCU\Environment": {"TEMP": before}}, "environment": environment}
    return Case(machine, SetUserEnvironmentVariable(name="TEMP", state=after), foreign)


@st.composite
def path_cases(draw: st.DrawFn) -> Case:
    before, after, foreign = (draw(perhaps(STRINGS)) for _ in range(3))
    assume(not before or before.value)  # an empty part of PATH is none: it leaves no trace in the variable
    environment = {"PATH": before.value} if before else {}
    machine = {"registry": {r"HKCU\Environment": {"Path": before}}, "environment": environment}
    return Case(machine, EditUserPath(state=after), foreign)


@st.composite
def file_cases(draw: st.DrawFn) -> Case:
    before, after, foreign = (draw(perhaps(CONTENTS)) for _ in range(3))
    names = ["f.txt"] if before else []
    machine = {"files": {"C:\\x\\f.txt": before}, "directories": {"C:\\x": names}}
    return Case(machine, WriteFile(path="C:\\X\\f.txt", state=after), foreign)


@st.composite
def git_cases(draw: st.DrawFn) -> Case:
    before, after, foreign = (draw(perhaps(TEXT)) for _ in range(3))
    machine = {"programs": {"git": "C:\\git.exe"}, "git_settings": {"core.longpaths": before}}
    return Case(machine, SetGitSetting(name="core.longpaths", state=after), foreign)


@st.composite
def package_cases(draw: st.DrawFn) -> Case:
    names = draw(st.lists(st.sampled_from(["pip", "ninja", "Setup_Tools"]), min_size=1, unique=True))
    before, foreign = (tuple(draw(perhaps(VERSIONS)) for _ in names) for _ in range(2))
    after = tuple(draw(perhaps(SPECIFIERS)) for _ in names)
    there = {
        name: version and {"name": name, "version": version, "location": "C:\\venv\\Lib\\site-packages"}
        for name, version in zip(names, before, strict=True)
    }
    pins = tuple(version and f"=={version}" for version in foreign)
    return Case({"distributions": there}, InstallPackages(packages=tuple(names), state=after), pins)


CASES = st.one_of(
    registry_cases(), variable_cases(), path_cases(), file_cases(), git_cases(), package_cases()
)


@contextmanager
def applied(case: Case) -> Iterator[tuple[RecordedHost, RecordedMachine, Path]]:
    """The machine after the action, the machine before it, and the run."""
    host = RecordedHost(RecordedMachine.model_validate({"identity": identity(), **case.machine}))
    before = host.machine
    if case.action.is_applied(host):
        reject()
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder)
        (outcome,) = apply_steps([Step(fix="f", index=0, action=case.action)], host, Journal(run / ACTIONS))
        assert outcome.result == "applied", outcome
        yield host, before, run


@given(CASES)
def test_an_action_is_applied_once_and_undone(case: Case) -> None:
    with applied(case) as (host, before, run):
        assert case.action.is_applied(host)
        after = host.machine
        assert after != before
        case.action.apply(host)
        assert host.machine == after
        (outcome,) = undo(run, host)
        assert outcome.result == "applied", outcome
        assert host.machine == before
        assert undo(run, host) == ()


@given(CASES)
def test_undo_refuses_a_target_that_was_changed_later(case: Case) -> None:
    with applied(case) as (host, before, run):
        left = case.action.read(host)
        case.action.inverse(case.foreign).apply(host)
        theirs = host.machine
        now = case.action.read(host)
        assume(now != left)
        (outcome,) = undo(run, host)
        was = case.action.read(RecordedHost(before))
        assert outcome.result == ("already so" if now == was else "refused")
        assert host.machine == theirs
        assert len(changes_in_effect(run, host)) == (now != was)


@pytest.mark.parametrize(
    ("directories", "made"),
    [
        ({"C:\\": [], "C:\\a": None, "C:\\a\\b": None}, ("C:\\a", "C:\\a\\b")),
        ({"C:\\": ["a"], "C:\\a": [], "C:\\a\\b": None}, ("C:\\a\\b",)),
    ],
)
@pytest.mark.parametrize("used", ["C:\\a", "C:\\a\\b"])
def test_folders_are_created_and_removed_all_or_none(directories: Any, made: Any, used: str) -> None:
    case = Case({"directories": directories}, MakeDirectory(path="C:\\a\\b"), None)
    with applied(case) as (host, before, run):
        host.make_directory(f"{used}\\theirs")
        theirs = host.machine
        (outcome,) = undo(run, host)
        if used in made:
            assert outcome.result == "failed" and "it contains theirs" in outcome.reason
            assert host.machine == theirs
            host.remove_directory(f"{used}\\theirs")
            host._machine.directories.pop(f"{used}\\theirs")
            (outcome,) = undo(run, host)
            assert host.machine == before
        assert outcome.result == "applied"


def test_a_folder_is_moved_aside_and_back_and_never_over_another() -> None:
    directories = {"C:\\s": ["~orch", "x"], "C:\\s\\~orch": ["f"], "C:\\s\\aside": None}
    case = Case({"directories": directories}, MoveFolder(path="C:\\s\\~orch", aside="C:\\s\\aside"), None)
    with applied(case) as (host, before, run):
        host.make_directory("C:\\s\\~orch")
        theirs = host.machine
        (outcome,) = undo(run, host)
        assert outcome.result == "failed" and "both exist" in outcome.reason
        assert host.machine == theirs
        host.remove_directory("C:\\s\\~orch")
        (outcome,) = undo(run, host)
        assert outcome.result == "applied"
        names = host._machine.directories["C:\\s"]
        assert isinstance(names, tuple)
        host._machine.directories["C:\\s"] = tuple(sorted(names, reverse=True))  # a listing has no order
        assert host.machine == before


def test_a_file_is_not_written_into_a_missing_folder() -> None:
    action = WriteFile(path="C:\\new\\f.txt", state=FileContent.of(b"x"))
    machine = {"identity": identity(), "files": {action.path: None}, "directories": {"C:\\new": None}}
    host = RecordedHost(RecordedMachine.model_validate(machine))
    before = host.machine
    with pytest.raises(FileNotFoundError, match="new"):
        action.apply(host)
    assert host.machine == before


def test_undo_keeps_an_upgrade_made_after_the_fix() -> None:
    """Both versions satisfy the specifier, but only one was installed by the run."""
    case = Case(
        {"distributions": {"setuptools": {"name": "setuptools", "version": "60", "location": "C:\\s"}}},
        InstallPackages(packages=("setuptools",), state=(">=61",)),
        None,
    )
    with applied(case) as (host, _, run):
        host.set_packages({"setuptools": "==99"})
        (outcome,) = undo(run, host)
        assert outcome.result == "refused"
        assert "the run left setuptools==61, now it is setuptools==99" in outcome.reason
