"""What a run reports about earlier runs: pending and completed restarts, and interrupted fixes."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from doctor.fixes.journal import ACTIONS, RESTARTED, events
from doctor.host import RegistryValue
from tests.doctor.calls import fixes, run
from tests.doctor.fake_machine import (
    FILE_SYSTEM,
    LONG_PATHS,
    TEMP_DIR,
    FakeHost,
    enable_long_paths,
    install_runtime,
    short_temp,
    state_check,
)

BOOT = 1_700_000_000.0
WAITS = state_check("waits", enable_long_paths(), restart="system")


def report(*arguments: str) -> tuple[Any, int]:
    result = run(*arguments, "--json")
    return json.loads(result.stdout), result.exit_code


@pytest.fixture
def fixed(doctor_with: Callable[..., FakeHost]) -> FakeHost:
    """A machine that was fixed but not restarted."""
    host = doctor_with(WAITS, TEMP_DIR)
    host.boot(BOOT)
    assert run("fix", "waits", "--yes").exit_code == 5
    return host


@pytest.mark.parametrize("restart", ["system", "session"])
@pytest.mark.parametrize("later", [0.0, 20.0, -20.0])
def test_before_the_restart_it_is_still_pending(doctor_with, restart, later) -> None:
    host = doctor_with(state_check("waits", enable_long_paths(), restart=restart))
    host.boot(BOOT)
    assert run("fix", "--yes").exit_code == 5
    host.boot(BOOT + later)
    for _ in range(2):
        seen, status = report()
        assert (seen["pending_restart"], status) == (True, 5)
        (line,) = seen["reminders"]
        assert line.startswith("waits: a restart is still due.") and "fast startup" in line
    shown = run()
    assert shown.exit_code == 5
    assert "a restart is still due" in shown.stdout
    assert "restart this computer" in shown.stdout.splitlines()[-1]
    assert "a restart of this computer is due" in run("runs").stdout


def test_after_the_restart_the_fix_is_verified_once(fixed) -> None:
    fixed.boot(BOOT + 300)
    seen, status = report("--only", "waits")
    assert (seen["pending_restart"], status) == (False, 0)
    assert seen["reminders"] == ["waits: fixed, verified after the restart"]
    assert report("--only", "waits")[0]["reminders"] == []
    assert "restart" not in run("runs").stdout
    assert events(fixes(fixed)[0]) >= {RESTARTED}


def test_a_fix_that_failed_after_the_restart_is_reported(fixed) -> None:
    fixed.set_registry_value(FILE_SYSTEM, "LongPathsEnabled", RegistryValue(type="REG_DWORD", value=0))
    fixed.boot(BOOT + 300)
    seen, status = report("--only", "waits")
    assert (seen["reminders"], status) == (["waits: still not fixed after the restart"], 1)
    assert report("--only", "waits")[0]["reminders"] == []


def test_a_diagnosis_of_another_check_verifies_nothing(fixed) -> None:
    fixed.boot(BOOT + 300)
    (line,) = report("--only", "temp-dir")[0]["reminders"]
    assert line == "waits: this computer was restarted; to verify the fix: aios doctor"
    assert report("--only", "waits")[0]["reminders"] == ["waits: fixed, verified after the restart"]


@pytest.mark.parametrize("then_unreadable", [True, False])
def test_an_unknown_boot_time_is_reported(doctor_with, then_unreadable) -> None:
    host = doctor_with(WAITS)
    host.boot("no clock" if then_unreadable else BOOT)
    assert run("fix", "--yes").exit_code == 5, "a restart is needed in any case"
    host.boot(BOOT if then_unreadable else "no clock")
    seen, status = report()
    assert (seen["pending_restart"], status) == (False, 0)
    (line,) = seen["reminders"]
    assert "cannot tell whether this computer was restarted" in line
    assert ("no clock" in line) is not then_unreadable


def test_an_undone_fix_needs_no_restart(fixed) -> None:
    assert run("undo").exit_code == 0
    seen, status = report()
    assert (seen["pending_restart"], seen["reminders"], status) == (False, [], 1)


@pytest.mark.parametrize("looked_in_between", [True, False])
def test_undoing_after_the_restart_needs_another_restart(fixed, looked_in_between) -> None:
    fixed.boot(BOOT + 300)
    if looked_in_between:
        run()
    undone = run("undo")
    assert undone.exit_code == 5
    assert undone.stdout.splitlines()[-1] == "Next: restart this computer to finish"
    assert not enable_long_paths().is_applied(fixed)


def test_a_second_fix_keeps_the_reminder_of_the_first(fixed) -> None:
    seen, status = report("--fix", "--yes")
    assert (seen["pending_restart"], status) == (True, 5)
    assert short_temp().is_applied(fixed)


def test_a_fix_that_verifies_an_earlier_one_removes_its_reminder(fixed) -> None:
    fixed.boot(BOOT + 300)
    result = run("fix", "--yes")
    assert result.exit_code == 0
    assert "waits: fixed, verified after the restart" in result.stdout


@pytest.mark.parametrize(("exit_code", "due"), [(0, False), (3010, True), (0x8A150109, True)])
def test_the_exit_code_of_an_installer_decides_whether_a_restart_is_needed(
    doctor_with, exit_code, due
) -> None:
    host = doctor_with(state_check("vc-redist", install_runtime()))
    host.boot(BOOT)
    host.exit_code = exit_code
    assert run("fix", "--yes").exit_code == (5 if due else 0)
    assert report()[0]["pending_restart"] is due


def test_a_change_that_takes_effect_in_new_terminals_is_not_a_failure(doctor_with) -> None:
    from dataclasses import replace

    from doctor.host import Found

    check = state_check("env", short_temp(), restart="shell")
    doctor_with(replace(check, judge=lambda _: check.judge(Found((None,)))))
    assert run("fix", "--yes").exit_code == 1


class KilledError(BaseException):
    pass


@pytest.fixture
def interrupted(doctor_with, monkeypatch) -> FakeHost:
    """A machine whose fix was killed between its first change and the next one."""
    host = doctor_with(LONG_PATHS, TEMP_DIR)

    def die(path: str) -> None:
        raise KilledError

    with monkeypatch.context() as killed:
        killed.setattr(host, "make_directory", die)
        with pytest.raises(KilledError):
            run("fix", "--yes")
    return host


def test_a_diagnosis_reports_an_interrupted_fix_and_how_to_finish_it(interrupted) -> None:
    (folder,) = fixes(interrupted)
    for _ in range(2):
        (line,) = report()[0]["reminders"]
        assert f"A fix was interrupted ({folder.name})" in line
        assert "aios doctor fix" in line and f"aios undo {folder.name}" in line
    assert "interrupted" in run("runs").stdout
    assert line in run("--markdown").stdout.replace("\\", "")


def test_the_next_fix_finishes_an_interrupted_one(interrupted) -> None:
    finished = run("fix", "--yes")
    assert finished.exit_code == 0
    assert "A fix was interrupted" in finished.stdout
    assert enable_long_paths().is_applied(interrupted) and short_temp().is_applied(interrupted)
    assert report()[0]["reminders"] == []


def test_undo_restores_what_an_interrupted_fix_changed(interrupted) -> None:
    assert run("undo").exit_code == 0
    assert not enable_long_paths().is_applied(interrupted)
    assert report()[0]["reminders"] == []
    assert "nothing to undo" in run("undo").stdout


def test_an_interrupted_fix_is_finished_only_by_fixing_all_its_checks(interrupted) -> None:
    assert run("fix", "long-paths", "--yes").exit_code == 0
    assert len(report()[0]["reminders"]) == 1
    assert run("fix", "temp-dir", "--yes").exit_code == 0
    assert report()[0]["reminders"] == []


def test_a_running_fix_is_not_reported_as_interrupted(interrupted, monkeypatch) -> None:
    import doctor.commands.history
    import doctor.runs.doctor_run

    for module in (doctor.runs.doctor_run, doctor.commands.history):
        monkeypatch.setattr(module, "is_being_changed", lambda host: True)
    assert report()[0]["reminders"] == []
    assert "running" in run("runs").stdout


def test_an_interrupted_run_keeps_its_journal(interrupted) -> None:
    (folder,) = fixes(interrupted)
    before = (folder / ACTIONS).read_bytes()
    report()
    run("fix", "--yes")
    assert (folder / ACTIONS).read_bytes() == before
