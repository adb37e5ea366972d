"""The meaning of an installer's exit code for the run and its undo."""

from __future__ import annotations

import pytest

from doctor.actions.installer_exit_codes import OUTCOMES, outcome_of
from doctor.diagnosis import diagnose
from doctor.fixes.executor import changes_in_effect, execute, undo
from doctor.fixes.journal import ACTIONS, entries, records
from doctor.fixes.plan import make_plan
from tests.doctor.fake_machine import LONG_PATHS, enable_long_paths, install_runtime, state_check

RUNTIME = state_check("vc-redist", install_runtime())


def plan_for(host, *checks):
    return make_plan(diagnose(host, checks or [RUNTIME]).findings)


@pytest.mark.parametrize(
    ("exit_code", "result", "restart", "words"),
    [
        (0, "applied", False, ""),
        (3010, "applied", True, ""),
        (1641, "applied", True, ""),
        (740, "failed", False, "administrator"),
        (1602, "refused", False, "cancelled"),
        (5004, "refused", False, "cancelled"),
        (1618, "failed", False, "another installer is running"),
        (1603, "failed", False, "exit code 1603"),
        (0x8A15002B, "already so", False, "already installed"),
        (0x8A150061, "already so", False, "already installed"),
        (0x8A150109, "applied", True, ""),
        (0x8A15010A, "failed", False, "restart this computer"),
        (0x8A15010C, "refused", False, "cancelled"),
        (0x8A15010D, "already so", False, "already installed"),
        (0x8A150102, "failed", False, "another installer is running"),
        (0x8A150011, "failed", False, "exit code 0x8a150011"),
    ],
)
@pytest.mark.parametrize("signed", [False, True])
def test_an_exit_code_gives_the_outcome(
    machine, run_folder, exit_code, result, restart, words, signed
) -> None:
    host = machine()
    host.exit_code = exit_code - (1 << 32) if signed and exit_code >= 1 << 31 else exit_code
    (outcome,) = execute(plan_for(host), host, run_folder)
    assert (outcome.result, outcome.restart) == (result, restart)
    assert words in outcome.reason
    assert host.installed == [install_runtime().command]
    (entry,) = entries(run_folder)
    assert entry.restart == restart
    assert bool(changes_in_effect(run_folder, host)) == (result == "applied"), (
        "what installed nothing needs no undo"
    )


def test_every_refusal_and_failure_has_a_reason() -> None:
    assert all(one.reason for one in OUTCOMES.values() if one.result != "applied")
    assert all(one.result == "applied" for one in OUTCOMES.values() if one.restart)
    assert outcome_of(-1978334964) is outcome_of(0x8A15010C)


def test_an_installer_that_is_not_there_failed(machine, run_folder, monkeypatch) -> None:
    host = machine()

    def missing(command) -> int:
        raise FileNotFoundError("winget: no such program")

    monkeypatch.setattr(host, "run_installer", missing)
    (outcome,) = execute(plan_for(host), host, run_folder)
    assert outcome.result == "failed" and "no such program" in outcome.reason
    assert changes_in_effect(run_folder, host) == ()


def test_undo_says_once_how_to_uninstall_by_hand(machine, run_folder) -> None:
    host = machine()
    execute(plan_for(host, LONG_PATHS, RUNTIME), host, run_folder)
    installer, long_paths = undo(run_folder, host)
    assert (installer.result, long_paths.result) == ("refused", "applied")
    assert "uninstall Microsoft Visual C++ Redistributable" in installer.reason
    assert changes_in_effect(run_folder, host) == ()
    assert undo(run_folder, host) == ()
    assert len(host.installed) == 1


def test_an_installer_that_was_interrupted_may_have_installed_something(
    machine, run_folder, monkeypatch
) -> None:
    host = machine()

    def die(command) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(host, "run_installer", die)
    with pytest.raises(KeyboardInterrupt):
        execute(plan_for(host), host, run_folder)
    assert [record["event"] for record in records(run_folder / ACTIONS)] == ["intended"]
    (outcome,) = undo(run_folder, host)
    assert outcome.result == "refused"
    assert changes_in_effect(run_folder, host) == ()


def test_a_cancelled_installation_ends_its_fix_and_not_the_others(machine, run_folder) -> None:
    host = machine()
    host.exit_code = 1602
    both = state_check("both", install_runtime(), enable_long_paths())
    cancelled, behind, other = execute(plan_for(host, both, LONG_PATHS), host, run_folder)
    assert (cancelled.result, behind.result, other.result) == ("refused", "refused", "applied")
