"""Administrator rights: one elevated child, which makes its own plan. Here it runs in this process."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from doctor.actions import SetRegistryValue
from doctor.diagnosis import diagnose
from doctor.fixes.elevated_child import apply_elevated, undo_elevated
from doctor.fixes.executor import execute, undo
from doctor.fixes.journal import ACTIONS, Journal, entries, records
from doctor.fixes.plan import Plan, Step, hash_of, make_plan
from doctor.host import Host, RegistryValue
from tests.doctor.fake_machine import (
    FILE_SYSTEM,
    LONG_PATHS,
    ONE,
    TEMP_DIR,
    FakeHost,
    enable_long_paths,
    state_check,
)


def option(command: Sequence[str], name: str) -> str:
    return command[command.index(name) + 1]


def child(
    host: FakeHost, process: Callable[[], Host] | None = None, plan_hash: str | None = None
) -> Callable[[Sequence[str]], int]:
    """Do what the child process does with its command line."""

    def run(command: Sequence[str]) -> int:
        its_host = (process or host.as_administrator)()
        its_hash, answer = plan_hash or option(command, "--plan-hash"), Path(option(command, "--answer"))
        arguments = command[4:]
        if command[3] == "apply-elevated":
            fixes = arguments[: arguments.index("--check")]
            checks = [check for check in (LONG_PATHS, TEMP_DIR) if check.id in arguments]
            apply_elevated(its_host, checks, fixes, its_hash, answer)
        else:
            undo_elevated(its_host, (LONG_PATHS, TEMP_DIR), Path(arguments[0]), its_hash, answer)
        return 0

    return run


def plan_for(host: Host) -> Plan:
    return make_plan(diagnose(host, [LONG_PATHS, TEMP_DIR]).findings)


def results(outcomes) -> dict[str, str]:
    return {outcome.step.id: outcome.result for outcome in outcomes}


def test_one_child_does_what_needs_an_administrator_and_undoes_it(machine, run_folder) -> None:
    host = machine(elevated=False)
    before = host.machine
    host.elevate = child(host)
    outcomes = execute(plan_for(host), host, run_folder)
    assert set(results(outcomes).values()) == {"applied"}
    assert len(host.asked) == 1
    assert "fix-temp-dir" not in host.asked[0]
    assert enable_long_paths().is_applied(host)
    assert {entry.progress for entry in entries(run_folder)} == {"done"}

    assert set(results(undo(run_folder, host)).values()) == {"applied"}
    assert len(host.asked) == 2
    assert host.machine == before
    assert undo(run_folder, host) == ()


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


@pytest.mark.parametrize("exit_code", [0, 1, 0xC0000005])
def test_a_child_that_dies_without_a_report_failed_and_the_rest_proceeds(
    machine, run_folder, exit_code
) -> None:
    host = machine(elevated=False)
    host.elevate = lambda command: exit_code
    long_paths, *rest = execute(plan_for(host), host, run_folder)
    assert long_paths.result == "failed"
    assert f"without a report (exit status {exit_code})" in long_paths.reason
    assert all(outcome.succeeded for outcome in rest)


def test_a_child_that_dies_in_the_middle_is_found_in_the_journal(machine, run_folder) -> None:
    host = machine(elevated=False)
    before = host.machine

    def die_before_answering(command: Sequence[str]) -> int:
        child(host)(command)
        answer = Path(option(command, "--answer"))
        answer.write_bytes(answer.read_bytes()[:-30])
        return 1

    host.elevate = die_before_answering
    assert "failed" in results(execute(plan_for(host), host, run_folder)).values()
    host.elevate = child(host)
    undo(run_folder, host)
    assert host.machine == before


def test_a_prompt_that_cannot_be_shown_failed(machine, run_folder) -> None:
    def no_window(command: Sequence[str]) -> int:
        raise OSError("no window station")

    host = machine(elevated=False)
    host.elevate = no_window
    assert "no window station" in execute(plan_for(host), host, run_folder)[0].reason


def test_a_child_without_rights_does_nothing_and_says_so(machine, run_folder) -> None:
    host = machine(elevated=False)
    host.elevate = child(host, process=lambda: host)
    before = host.machine.registry[FILE_SYSTEM]
    outcome = execute(plan_for(host), host, run_folder)[0]
    assert outcome.result == "refused"
    assert "without administrator rights" in outcome.reason
    assert host.machine.registry[FILE_SYSTEM] == before


def test_a_tampered_plan_hash_is_refused(machine, run_folder) -> None:
    host = machine(elevated=False)
    host.elevate = child(host, plan_hash=hash_of(()))
    outcome = execute(plan_for(host), host, run_folder)[0]
    assert outcome.result == "refused"
    assert "differs from the one shown" in outcome.reason
    assert not enable_long_paths().is_applied(host)


def test_a_machine_that_changed_meanwhile_gives_another_plan(machine, run_folder) -> None:
    host = machine(elevated=False)
    plan = plan_for(host)
    host.elevate = child(host)
    enable_long_paths().apply(host.as_administrator())
    assert execute(plan, host, run_folder)[0].result == "refused"


def test_a_journal_that_was_tampered_with_during_the_prompt_is_refused(machine, run_folder) -> None:
    host = machine(elevated=False)
    host.elevate = child(host)
    execute(plan_for(host), host, run_folder)

    def tamper(command: Sequence[str]) -> int:
        for journal in run_folder.glob("elevated-*.jsonl"):
            text = journal.read_text(encoding="utf-8")
            journal.write_text(
                text.replace('"state": null', json.dumps({"state": {"type": "REG_DWORD", "value": 7}})[1:-1])
            )
        return child(host)(command)

    host.elevate = tamper
    outcome = undo(run_folder, host)[-1]
    assert outcome.result == "refused"
    assert enable_long_paths().read(host) == RegistryValue(type="REG_DWORD", value=1)


def test_the_elevated_undo_does_not_trust_a_forged_journal(machine, run_folder) -> None:
    """A program without administrator rights can forge the journal, so an elevated process must not trust it."""
    host = machine(elevated=False)
    anywhere = SetRegistryValue(key=r"HKLM\SOFTWARE\Anything", name="Run", state=ONE)
    host._machine.registry[anywhere.key] = {"Run": ONE}
    journal = Journal(run_folder / ACTIONS)
    step = Step(fix="fix-long-paths", index=0, action=anywhere)
    journal.intend(step, anywhere.inverse(RegistryValue(type="REG_SZ", value="evil.exe")))
    journal.done(step, step.action)
    host.elevate = child(host)
    (outcome,) = undo(run_folder, host)
    assert outcome.result == "refused"
    assert host.machine.registry[anywhere.key] == {"Run": ONE}


def test_the_child_does_not_overwrite_a_file(machine, tmp_path) -> None:
    answer = tmp_path / "answer"
    answer.write_bytes(b"precious")
    with pytest.raises(FileExistsError):
        apply_elevated(machine(elevated=True), [LONG_PATHS], ["fix-long-paths"], hash_of(()), answer)
    assert answer.read_bytes() == b"precious"


def test_the_report_is_in_the_childs_journal(machine, run_folder) -> None:
    host = machine(elevated=False)
    host.elevate = child(host)
    execute(plan_for(host), host, run_folder)
    (answer,) = run_folder.glob("elevated-*.jsonl")
    assert [record["event"] for record in records(answer)] == ["intended", "done", "answer"]


def answering(text: str) -> Callable[[Sequence[str]], int]:
    """A child that only writes this answer."""

    def run(command: Sequence[str]) -> int:
        Path(option(command, "--answer")).write_text(text, encoding="utf-8")
        return 0

    return run


@pytest.mark.parametrize(
    "answer",
    [
        "",
        "garbage\n",
        '{"event": "answer"}\n',
        '{"event": ["answer"]}\n',
        '{"event": "answer", "refusal": 7, "outcomes": []}\n',
        '{"event": "answer", "refusal": null, "outcomes": "all"}\n',
        '{"event": "answer", "refusal": null, "outcomes": [{"step": "fix-long-paths/0", "result": "fine"}]}\n',
        '{"event": "answer", "refusal": null, "outcomes": [{"step": "fix-long-paths/0", "result": "applied", "x": 1}]}',
    ],
)
def test_a_garbage_report_does_not_crash_the_parent(machine, run_folder, answer) -> None:
    host = machine(elevated=False)
    host.elevate = answering(answer)
    long_paths, *rest = execute(plan_for(host), host, run_folder)
    assert long_paths.result == "failed"
    assert "without a report" in long_paths.reason
    assert all(outcome.succeeded for outcome in rest)


def test_a_report_on_other_steps_leaves_ours_unreported(machine, run_folder) -> None:
    host = machine(elevated=False)
    outcomes = [{"step": "fix-other/0", "result": "applied", "reason": "", "restart": False}]
    host.elevate = answering(json.dumps({"event": "answer", "refusal": None, "outcomes": outcomes}))
    long_paths, *rest = execute(plan_for(host), host, run_folder)
    assert long_paths.result == "failed"
    assert "did not report this step" in long_paths.reason
    assert all(outcome.succeeded for outcome in rest)


def test_an_entry_whose_state_after_is_about_another_target_is_not_believed(machine, run_folder) -> None:
    host = machine()
    journal = Journal(run_folder / ACTIONS)
    step = Step(fix="fix-long-paths", index=0, action=enable_long_paths())
    journal.intend(step, enable_long_paths().inverse(None))
    journal.done(step, SetRegistryValue(key=r"HKLM\SOFTWARE\Anything", name="Run", state=ONE))
    assert [entry.progress for entry in entries(run_folder)] == ["intended"]
    assert undo(run_folder, host) == ()


def test_the_child_plans_the_same_if_the_named_check_has_a_cause(machine, run_folder) -> None:
    """The check's causes are checked, too, and may have fixes of their own."""
    cause = state_check("cause", SetRegistryValue(key=FILE_SYSTEM, name="Cause", state=ONE))
    consequence = replace(LONG_PATHS, because_of=(cause,))
    registry = {FILE_SYSTEM: {"LongPathsEnabled": None, "Cause": None}}
    host = machine(elevated=False, registry=registry)
    plan = make_plan(diagnose(host, [consequence]).findings, named=["long-paths"])
    assert [fix.fix.id for fix in plan.fixes] == ["fix-cause"]

    def child_with_causes(command: Sequence[str]) -> int:
        assert option(command, "--check") == "cause"
        orders = option(command, "--plan-hash"), Path(option(command, "--answer"))
        apply_elevated(host.as_administrator(), [cause], ["fix-cause"], *orders)
        return 0

    host.elevate = child_with_causes
    (outcome,) = execute(plan, host, run_folder)
    assert outcome.result == "applied", outcome
    assert host.machine.registry[FILE_SYSTEM] == {"LongPathsEnabled": None, "Cause": ONE}
