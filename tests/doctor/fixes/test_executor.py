from __future__ import annotations

import pytest

from doctor.diagnosis import diagnose
from doctor.fixes.executor import changes_in_effect, execute, undo
from doctor.fixes.journal import ACTIONS, entries, records
from doctor.fixes.plan import Plan, make_plan
from doctor.host import RegistryValue
from tests.doctor.fake_machine import (
    FILE_SYSTEM,
    LONG_PATHS,
    TEMP_DIR,
    FakeHost,
    enable_long_paths,
    make_temp,
    short_temp,
)


def plan_for(host: FakeHost, *checks) -> Plan:
    return make_plan(diagnose(host, checks or (LONG_PATHS, TEMP_DIR)).findings)


def results(outcomes) -> list[str]:
    return [outcome.result for outcome in outcomes]


def test_a_plan_is_applied_journalled_and_repeated_without_effect(machine, run_folder, tmp_path) -> None:
    host = machine()
    plan = plan_for(host)
    assert results(execute(plan, host, run_folder)) == ["applied"] * 3
    assert {f.status for f in diagnose(host, [LONG_PATHS, TEMP_DIR]).findings} == {"ok"}
    events = [record["event"] for record in records(run_folder / ACTIONS)]
    assert events == ["intended", "done"] * 3

    after = host.machine
    again = tmp_path / "again"
    again.mkdir()
    assert results(execute(plan, host, again)) == ["already so"] * 3
    assert host.machine == after
    assert not (again / ACTIONS).exists()


def test_the_intent_is_on_the_disk_before_the_change_happens(machine, run_folder, monkeypatch) -> None:
    host = machine()
    seen: list[list[str]] = []
    change = host.set_registry_value

    def spy(key: str, name: str, value: RegistryValue | None) -> None:
        seen.append([record["event"] for record in records(run_folder / ACTIONS)])
        change(key, name, value)

    monkeypatch.setattr(host, "set_registry_value", spy)
    execute(plan_for(host, LONG_PATHS), host, run_folder)
    assert seen == [["intended"]]


def test_a_failure_ends_its_fix_and_not_the_others(machine, run_folder, monkeypatch) -> None:
    host = machine()

    def refuse(path: str) -> None:
        raise PermissionError(f"{path}: access denied")

    monkeypatch.setattr(host, "make_directory", refuse)
    long_paths, folder, variable = execute(plan_for(host), host, run_folder)
    assert long_paths.succeeded
    assert (folder.result, variable.result) == ("failed", "refused")
    assert "access denied" in folder.reason
    assert host.variable("TEMP") is None


def test_a_change_that_did_not_take_effect_is_a_failure(machine, run_folder, monkeypatch) -> None:
    host = machine()
    monkeypatch.setattr(host, "set_registry_value", lambda key, name, value: None)
    (outcome,) = execute(plan_for(host, LONG_PATHS), host, run_folder)
    assert outcome.result == "failed"
    assert "did not take effect: it is still absent" in outcome.reason
    assert changes_in_effect(run_folder, host) == ()  # the machine is as it was


def test_an_unreadable_state_is_not_changed(machine, run_folder) -> None:
    plan = plan_for(machine(), LONG_PATHS)
    host = machine(registry={FILE_SYSTEM: {"LongPathsEnabled": {"unreadable": "access denied"}}})
    (outcome,) = execute(plan, host, run_folder)
    assert (outcome.result, entries(run_folder)) == ("failed", ())


def test_undo_restores_the_machine_and_has_nothing_to_do_twice(machine, run_folder) -> None:
    host = machine()
    before = host.machine
    execute(plan_for(host), host, run_folder)
    outcomes = undo(run_folder, host)
    assert results(outcomes) == ["applied"] * 3
    assert [outcome.step.id for outcome in outcomes] == [
        "fix-temp-dir/1",
        "fix-temp-dir/0",
        "fix-long-paths/0",
    ]
    assert host.machine == before
    assert undo(run_folder, host) == ()


def test_undo_refuses_to_overwrite_a_later_change(machine, run_folder) -> None:
    host = machine()
    execute(plan_for(host), host, run_folder)
    theirs = RegistryValue(type="REG_SZ", value="D:\\Mine")
    host.set_registry_value(r"HKCU\Environment", "TEMP", theirs)
    variable, folder, long_paths = undo(run_folder, host)
    assert variable.result == "refused"
    assert "C:\\Temp (REG_SZ), now it is D:\\Mine (REG_SZ)" in variable.reason
    assert folder.succeeded and long_paths.succeeded
    assert short_temp().read(host) == theirs
    assert [entry.step.id for entry in changes_in_effect(run_folder, host)] == ["fix-temp-dir/1"]


def test_undo_leaves_a_folder_that_is_in_use(machine, run_folder) -> None:
    host = machine()
    execute(plan_for(host, TEMP_DIR), host, run_folder)
    host.write_file("C:\\Temp\\mine.txt", b"mine")
    host._machine.directories["C:\\Temp"] = ("mine.txt",)
    _, folder = undo(run_folder, host)
    assert folder.result == "failed"
    assert "not empty" in folder.reason
    assert make_temp().is_applied(host)


@pytest.mark.parametrize("change_happened", [False, True])
def test_a_run_that_was_killed_in_the_middle_is_judged_by_the_real_state(
    machine, run_folder, monkeypatch, change_happened
) -> None:
    class KilledError(BaseException):
        pass

    host = machine()
    before = host.machine
    change = host.set_registry_value

    def die(key: str, name: str, value: RegistryValue | None) -> None:
        if change_happened:
            change(key, name, value)
        raise KilledError

    monkeypatch.setattr(host, "set_registry_value", die)
    with pytest.raises(KilledError):
        execute(plan_for(host, LONG_PATHS), host, run_folder)
    monkeypatch.undo()

    assert [entry.progress for entry in entries(run_folder)] == ["intended"]
    assert len(changes_in_effect(run_folder, host)) == int(change_happened)
    assert results(undo(run_folder, host)) == ["applied"] * int(change_happened)
    assert host.machine == before

    execute(plan_for(host, LONG_PATHS), host, run_folder)  # or it is finished instead
    assert enable_long_paths().is_applied(host)


def test_a_change_that_was_already_reverted_needs_no_undo(machine, run_folder) -> None:
    host = machine()
    execute(plan_for(host, LONG_PATHS), host, run_folder)
    host.set_registry_value(FILE_SYSTEM, "LongPathsEnabled", None)
    assert results(undo(run_folder, host)) == ["already so"]
    assert changes_in_effect(run_folder, host) == ()


def test_nothing_is_changed_that_cannot_be_journalled(machine, run_folder) -> None:
    host = machine()
    before = host.machine
    plan = plan_for(host, LONG_PATHS)
    (run_folder / ACTIONS).mkdir()  # as good as a full disk
    (outcome,) = execute(plan, host, run_folder)
    assert outcome.result == "failed"
    assert "cannot write the journal" in outcome.reason
    assert host.machine == before
