"""Administrator rights: one prompt for Windows' own program, with typed constants; this process journals and verifies."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from doctor.actions import SetRegistryValue
from doctor.checks import CHECKS
from doctor.diagnosis import diagnose
from doctor.fixes.executor import execute, undo
from doctor.fixes.journal import ACTIONS, Journal, entries
from doctor.fixes.plan import Plan, Step, make_plan
from doctor.host import Host, RegistryValue
from doctor.host.elevated_command import RegistryChange, elevated_command
from tests.doctor.fake_machine import (
    FILE_SYSTEM,
    LONG_PATHS,
    ONE,
    TEMP_DIR,
    FakeHost,
    enable_long_paths,
    identity,
    state_check,
)

SYSTEM = "C:\\Windows\\System32"
KNOWN = LONG_PATHS.elevated
TWO = (
    SetRegistryValue(key=FILE_SYSTEM, name="LongPathsEnabled", state=ONE),
    SetRegistryValue(key=FILE_SYSTEM, name="Cause", state=ONE),
)
# One command of reg.exe, as its documentation describes it
REG = (
    r'(?:add "(?P<key>HKLM\\[^"]+)" /v "(?P<name>[^"]+)" /t REG_DWORD /d (?P<data>[0-9]+)'
    r'|delete "(?P<gone>HKLM\\[^"]+)" /v "(?P<value>[^"]+)") /f /reg:64'
)


def reg(host: FakeHost) -> Callable[[Sequence[RegistryChange]], int]:
    """What the elevated program does: it is given the line alone, and reads nothing else."""

    def run(changes: Sequence[RegistryChange]) -> int:
        administrator = host.as_administrator()
        for command in commands_of(*host.asked[-1]):
            found = re.fullmatch(REG, command)
            assert found, command
            if found["key"]:
                one = RegistryValue(type="REG_DWORD", value=int(found["data"]))
                administrator.set_registry_value(found["key"], found["name"], one)
            else:
                administrator.set_registry_value(found["gone"], found["value"], None)
        return 0

    return run


def commands_of(program: str, parameters: str) -> list[str]:
    assert program == f"{SYSTEM}\\cmd.exe"
    outer = re.fullmatch(r'/d /v:off /s /c "(.*)"', parameters)
    assert outer
    starts = f'"{SYSTEM}\\reg.exe" '
    commands = outer[1].split(" & ")
    ends = " >nul 2>&1"
    assert all(command.startswith(starts) and command.endswith(ends) for command in commands)
    return [command.removeprefix(starts).removesuffix(ends) for command in commands]


def plan_for(host: Host) -> Plan:
    return make_plan(diagnose(host, [LONG_PATHS, TEMP_DIR]).findings)


def results(outcomes: Any) -> dict[str, str]:
    return {outcome.step.id: outcome.result for outcome in outcomes}


def test_one_prompt_does_what_needs_an_administrator_and_undoes_it(machine, run_folder) -> None:
    host = machine(elevated=False)
    before = host.machine
    host.elevate = reg(host)
    outcomes = execute(plan_for(host), host, run_folder)
    assert set(results(outcomes).values()) == {"applied"}
    assert len(host.asked) == 1
    assert enable_long_paths().is_applied(host)
    assert {entry.progress for entry in entries(run_folder)} == {"done"}
    assert [path.name for path in run_folder.glob("*.jsonl")] == [ACTIONS]

    assert set(results(undo(run_folder, host, KNOWN)).values()) == {"applied"}
    assert len(host.asked) == 2
    assert host.machine == before
    assert undo(run_folder, host, KNOWN) == ()


def test_several_values_have_one_prompt(machine, run_folder) -> None:
    host = machine(elevated=False, registry={FILE_SYSTEM: {"LongPathsEnabled": None, "Cause": None}})
    before = host.machine
    host.elevate = reg(host)
    checks = [state_check("one", TWO[0]), state_check("two", TWO[1])]
    outcomes = execute(make_plan(diagnose(host, checks).findings), host, run_folder)
    assert set(results(outcomes).values()) == {"applied"}
    assert [program for program, _ in host.asked] == [f"{SYSTEM}\\cmd.exe"]
    assert set(results(undo(run_folder, host, TWO)).values()) == {"applied"}
    assert len(host.asked) == 2
    assert host.machine == before


def test_another_python_has_no_part_in_what_runs_with_administrator_rights(machine, tmp_path: Path) -> None:
    """`aios doctor fix --python`: the folder of that Python may belong to anybody."""
    there = {"executable": "D:\\x & calc\\python.exe", "prefix": "D:\\x & calc", "other_python": True}
    hosts = machine(elevated=False), machine(identity=identity(elevated=False, **there))
    for number, host in enumerate(hosts):
        host.elevate = reg(host)
        folder = tmp_path / str(number)
        folder.mkdir()
        assert set(results(execute(plan_for(host), host, folder)).values()) == {"applied"}
        assert set(results(undo(folder, host, KNOWN)).values()) == {"applied"}
    assert len(hosts[0].asked) == 2
    assert hosts[0].asked == hosts[1].asked


def test_an_administrator_is_not_asked(machine, run_folder) -> None:
    host = machine(elevated=True)
    execute(plan_for(host), host, run_folder)
    assert host.asked == []


def test_a_refused_prompt_leaves_that_finding_open_and_the_rest_proceeds(machine, run_folder) -> None:
    host = machine(elevated=False)
    outcomes = execute(plan_for(host), host, run_folder)
    assert results(outcomes) == {
        "fix-long-paths/0": "refused",
        "fix-temp-dir/0": "applied",
        "fix-temp-dir/1": "applied",
    }
    assert [f.status for f in diagnose(host, [LONG_PATHS, TEMP_DIR]).findings] == ["error", "ok"]
    assert len(undo(run_folder, host, KNOWN)) == 2


@pytest.mark.parametrize("exit_code", [0, 1, 0xC0000005])
def test_a_program_that_changes_nothing_failed_whatever_it_says(machine, run_folder, exit_code) -> None:
    host = machine(elevated=False)
    host.elevate = lambda changes: exit_code
    long_paths, *rest = execute(plan_for(host), host, run_folder)
    assert (long_paths.result, f"reg.exe (exit status {exit_code})" in long_paths.reason) == ("failed", True)
    assert all(outcome.succeeded for outcome in rest)
    assert undo(run_folder, host, KNOWN)[-1].step.fix != "fix-long-paths"


@pytest.mark.parametrize(
    "error", [OSError("no window station"), TimeoutError("reg.exe did not end within 300 s")]
)
def test_a_prompt_that_fails_or_is_not_answered_failed(machine, run_folder, error) -> None:
    def fail(changes: Sequence[RegistryChange]) -> int:
        raise error

    host = machine(elevated=False)
    host.elevate = fail
    outcome = execute(plan_for(host), host, run_folder)[0]
    assert outcome.result == "failed"
    assert str(error) in outcome.reason
    assert ("confirm the prompt later" in outcome.reason) == isinstance(error, TimeoutError)


def test_a_prompt_that_is_answered_too_late_is_undone_nevertheless(machine, run_folder) -> None:
    host = machine(elevated=False)
    before = host.machine

    def late(changes: Sequence[RegistryChange]) -> int:
        raise TimeoutError("reg.exe did not end within 300 s")

    host.elevate = late
    execute(plan_for(host), host, run_folder)
    enable_long_paths().apply(host.as_administrator())
    host.elevate = reg(host)
    assert set(results(undo(run_folder, host, KNOWN)).values()) == {"applied"}
    assert host.machine == before


def test_a_kill_during_the_prompt_is_found_in_the_journal(machine, run_folder) -> None:
    host = machine(elevated=False)
    before = host.machine

    def killed(changes: Sequence[RegistryChange]) -> int:
        reg(host)(changes)
        raise KeyboardInterrupt

    host.elevate = killed
    with pytest.raises(KeyboardInterrupt):
        execute(plan_for(host), host, run_folder)
    assert [entry.progress for entry in entries(run_folder)] == ["intended"]
    host.elevate = reg(host)
    undo(run_folder, host, KNOWN)
    assert host.machine == before


def test_a_value_that_cannot_be_a_constant_is_left_to_the_user(machine, run_folder) -> None:
    text = SetRegistryValue(key=FILE_SYSTEM, name="A", state=RegistryValue(type="REG_SZ", value="x"))
    host = machine(elevated=False, registry={FILE_SYSTEM: {"A": None}})
    plan = make_plan(diagnose(host, [state_check("text", text)]).findings)
    (outcome,) = execute(plan, host, run_folder)
    assert outcome.result == "refused"
    assert "terminal opened as administrator: set HKLM" in outcome.reason
    assert host.asked == []


FORGED = [
    SetRegistryValue(
        key=r"HKLM\SOFTWARE\Anything", name="Run", state=RegistryValue(type="REG_SZ", value="evil.exe")
    ),
    SetRegistryValue(
        key=r"HKLM\SOFTWARE\Anything", name="Run", state=RegistryValue(type="REG_DWORD", value=2)
    ),
    SetRegistryValue(
        key=FILE_SYSTEM, name="LongPathsEnabled", state=RegistryValue(type="REG_SZ", value="any " * 99)
    ),
    SetRegistryValue(
        key=FILE_SYSTEM, name="LongPathsEnabled", state=RegistryValue(type="REG_QWORD", value=1)
    ),
    SetRegistryValue(key=FILE_SYSTEM, name='LongPathsEnabled" & calc & "', state=None),
    SetRegistryValue(key=FILE_SYSTEM + '" /v x & calc.exe & "', name="LongPathsEnabled", state=None),
]


@pytest.mark.parametrize("earlier", FORGED, ids=range(len(FORGED)))
def test_undo_does_not_trust_a_forged_journal(machine, run_folder, earlier: SetRegistryValue) -> None:
    """A program without administrator rights can write the journal."""
    host = machine(elevated=False)
    host._machine.registry.setdefault(earlier.key, {})[earlier.name] = ONE
    registry = json.loads(host.machine.to_json())["registry"]
    step = Step(fix="fix-long-paths", index=0, action=earlier.model_copy(update={"state": ONE}))
    journal = Journal(run_folder / ACTIONS)
    journal.intend(step, earlier)
    journal.done(step, step.action)
    host.elevate = reg(host)
    (outcome,) = undo(run_folder, host, KNOWN)
    assert outcome.result == "refused"
    assert host.asked == []
    assert json.loads(host.machine.to_json())["registry"] == registry


def test_an_entry_whose_state_after_is_about_another_target_is_not_trusted(machine, run_folder) -> None:
    host = machine()
    journal = Journal(run_folder / ACTIONS)
    step = Step(fix="fix-long-paths", index=0, action=enable_long_paths())
    journal.intend(step, enable_long_paths().inverse(None))
    journal.done(step, SetRegistryValue(key=r"HKLM\SOFTWARE\Anything", name="Run", state=ONE))
    assert [entry.progress for entry in entries(run_folder)] == ["intended"]
    assert undo(run_folder, host) == ()


def test_a_value_that_changed_since_is_not_undone(machine, run_folder) -> None:
    host = machine(elevated=False)
    host.elevate = reg(host)
    execute(plan_for(host), host, run_folder)
    host._machine.registry[FILE_SYSTEM]["LongPathsEnabled"] = RegistryValue(type="REG_DWORD", value=7)
    outcome = undo(run_folder, host, KNOWN)[-1]
    assert (outcome.result, "by something else" in outcome.reason) == ("refused", True)
    assert len(host.asked) == 1


def all_elevated() -> list[RegistryChange]:
    actions = [action for check in CHECKS for action in check.elevated]
    assert all(isinstance(action, SetRegistryValue) for action in actions)
    return [(a.key, a.name, a.state) for a in actions if isinstance(a, SetRegistryValue)]


def test_everything_that_the_checks_do_as_administrator_fits_into_one_prompt() -> None:
    changes = all_elevated()
    gone: list[RegistryChange] = [(key, name, None) for key, name, _ in changes]
    for each in (changes, gone):
        commands = commands_of(*elevated_command(SYSTEM, each))
        assert len(commands) == len(changes) >= 4
        assert all(re.fullmatch(REG, command) for command in commands)


NOT_PLAIN = [
    ("HKCU\\Environment", "x", None),
    ("HKLM", "x", None),
    ("HKLM\\SOFTWARE\\", "x", None),
    ("HKLM\\%TEMP%", "x", None),
    ("HKLM\\SOFTWARE\\ä", "x", None),
    ("HKLM\\SOFTWARE", "", None),
    ("HKLM\\SOFTWARE", "x\\", None),
    ("HKLM\\SOFTWARE", "x\n", None),
    ("HKLM\\SOFTWARE", "x", RegistryValue(type="REG_SZ", value="1")),
    ("HKLM\\SOFTWARE", "x", RegistryValue.model_construct(type="REG_DWORD", value=-1)),
    ("HKLM\\SOFTWARE", "x", RegistryValue.model_construct(type="REG_DWORD", value=2**32)),
    ("HKLM\\SOFTWARE", "x", RegistryValue.model_construct(type="REG_DWORD", value="1 & calc")),
    ("HKLM\\SOFTWARE", "x", RegistryValue.model_construct(type="REG_DWORD", value=True)),
    *(("HKLM\\SOFTWARE", f"a{sign}b", None) for sign in "\"%^&|<>()!;,=$`'\r\t\0"),
]


@pytest.mark.parametrize("change", NOT_PLAIN, ids=range(len(NOT_PLAIN)))
def test_only_plain_constants_become_a_command_line(change: RegistryChange) -> None:
    for changes in ([change], [all_elevated()[0], change]):
        with pytest.raises(ValueError):
            elevated_command(SYSTEM, changes)


@pytest.mark.parametrize(
    "folder", ["", "System32", "C:\\a b&c", 'C:\\"x', "\\\\server\\share", "C:\\%windir%"]
)
def test_a_system_folder_that_is_not_plain_is_refused(folder: str) -> None:
    with pytest.raises(ValueError):
        elevated_command(folder, all_elevated())


def test_only_the_windows_host_asks_for_rights_and_with_the_system_folder_alone() -> None:
    root = Path(__file__).parents[3]
    sources = {
        path.relative_to(root).as_posix(): path.read_text(encoding="utf-8")
        for package in ("doctor", "gui", "trainer", "wheels")
        for path in (root / package).rglob("*.py")
    }
    assert [name for name, text in sources.items() if '"runas"' in text] == ["doctor/host/windows.py"]
    text = sources["doctor/host/windows.py"]
    assert "elevated_command(folder, changes)" in text
    assert "GetSystemDirectoryW" in text
    assert "lpFile=program" in text
