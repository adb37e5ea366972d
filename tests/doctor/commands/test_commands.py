"""The command `aios doctor`: its output on each stream, its changes, and its exit status."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import pytest

import doctor.checks
import doctor.commands.common
import doctor.commands.fix
from doctor.check import Check
from doctor.host import RegistryValue
from doctor.host.elevated_command import RegistryChange
from doctor.host.machine import NotSeen
from doctor.models import Finding
from doctor.report.console import Printer
from tests.doctor.calls import fixes, run
from tests.doctor.fake_machine import (
    FILE_SYSTEM,
    LONG_PATHS,
    ONE,
    TEMP_DIR,
    FakeHost,
    enable_long_paths,
    short_temp,
    state_check,
)

ROOT = Path(__file__).parents[3]
SCHEMA = json.loads((ROOT / "doctor" / "schemas" / "report.schema.json").read_text(encoding="utf-8"))


def says(status: str, check_id: str = "x", judge: Callable[..., Any] | None = None) -> Check:
    found = Finding.model_validate({"check": check_id, "status": status, "summary": "words"})
    return replace(LONG_PATHS, id=check_id, probes=(), judge=judge or (lambda: found))


@pytest.mark.parametrize(
    ("statuses", "options", "expected"),
    [
        (["ok", "info", "skipped"], [], 0),
        (["warning"], [], 0),
        (["warning"], ["--strict"], 1),
        (["error", "unknown"], [], 1),
        (["unknown"], [], 3),
    ],
)
def test_exit_status_of_a_diagnosis(doctor_with, statuses, options, expected) -> None:
    doctor_with(*(says(status, f"c{n}") for n, status in enumerate(statuses)))
    for form in ([], ["--json"], ["--markdown"]):
        assert run(*options, *form).exit_code == expected


def test_a_crashing_check_does_not_crash_the_doctor(doctor_with) -> None:
    doctor_with(says("ok", judge=lambda: 1 / 0))
    result = run()
    assert result.exit_code == 3
    assert "ZeroDivisionError" in result.stdout


def test_an_interrupt_ends_with_130(doctor_with, monkeypatch) -> None:
    doctor_with(says("ok"))

    def interrupt(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(doctor.commands.common, "run_doctor", interrupt)
    assert run().exit_code == 130


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--only", "nonsense"], "Run `aios doctor list` to see all checks"),
        (["--skip", "nonsense"], "Run `aios doctor list` to see all checks"),
        (["fix", "nonsense"], "Run `aios doctor list` to see all checks"),
        (["--machine", "no such file.json"], "Cannot read the recorded machine"),
        (["--only", "temp-dir", "--skip", "temp-dir"], "leave no checks to run"),
        (["--json", "--markdown"], "choose one"),
        (["--yes"], "require --fix"),
        (["--dry-run"], "require --fix"),
        (["--timeout", "0"], "0.1"),
        (["--json", "fix"], "--json cannot be used with 'fix'"),
        (["undo", "no-such-run"], "there is no run 'no-such-run'"),
        (["record"], "FILE"),
        (["nonsense"], "nonsense"),
    ],
)
def test_usage_errors_exit_with_2_and_list_the_valid_values(doctor_with, arguments, message) -> None:
    doctor_with(LONG_PATHS, TEMP_DIR)
    result = run(*arguments)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert message in " ".join(result.stderr.replace("│", " ").split())


def test_a_damaged_machine_file_is_a_usage_error(doctor_with, tmp_path) -> None:
    (tmp_path / "m.json").write_text("{}", encoding="utf-8")
    result = run("--machine", str(tmp_path / "m.json"))
    assert (result.exit_code, result.stdout) == (2, "")
    assert "identity" in result.stderr


def test_a_recorded_machine_is_never_changed(doctor_with, machine, tmp_path, monkeypatch) -> None:
    doctor_with(LONG_PATHS, TEMP_DIR)
    file = tmp_path / "m.json"
    file.write_text(machine().machine.to_json(), encoding="utf-8")

    def never() -> None:
        raise AssertionError("the live machine was touched")

    monkeypatch.setattr(doctor.commands.common, "live_host", never)
    result = run("--machine", str(file), "--json")
    assert result.exit_code == 1
    assert json.loads(result.stdout)["machine"]["recorded"] is True
    assert json.loads(result.stdout)["capability_file"] is None
    assert "set HKLM" in run("--machine", str(file), "--fix", "--dry-run").stdout
    assert run("--machine", str(file), "--fix", "--yes").exit_code == 2
    assert run("--machine", str(file), "--capability-file", "c.json").exit_code == 2
    assert [path.name for path in tmp_path.iterdir()] == ["m.json"]


def test_fix_verify_repeat_and_undo(doctor_with) -> None:
    host = doctor_with(LONG_PATHS, TEMP_DIR)
    before = host.machine
    fixed = run("--fix", "--yes")
    assert fixed.exit_code == 0, fixed.output
    assert host.machine.registry[FILE_SYSTEM]["LongPathsEnabled"] == ONE
    assert "2 ok" in fixed.stdout
    (folder,) = fixes(host)
    assert sorted(file.name for file in folder.iterdir()) == ["actions.jsonl", "plan.json", "report.json"]
    jsonschema.validate(json.loads((folder / "report.json").read_text(encoding="utf-8")), SCHEMA)

    after = host.machine
    again = run("--fix", "--yes")
    assert (again.exit_code, host.machine, len(fixes(host))) == (0, after, 1)
    assert "Nothing to fix automatically" in again.stdout

    undone = run("undo")
    assert undone.exit_code == 0
    assert host.machine == before
    assert "nothing to undo" in run("undo").stdout
    assert "nothing left to undo" in run("undo", folder.name).stdout


@pytest.mark.parametrize(
    "wrong", [RegistryValue(type="REG_DWORD", value=0), RegistryValue(type="REG_SZ", value="1")]
)
def test_undo_restores_a_wrong_value_with_its_type(doctor_with, machine, wrong) -> None:
    registry = {FILE_SYSTEM: {"LongPathsEnabled": wrong}}
    host = doctor_with(LONG_PATHS, host=machine(registry=registry))
    assert run("fix", "long-paths", "--yes").exit_code == 0
    run("undo")
    assert host.machine.registry[FILE_SYSTEM]["LongPathsEnabled"] == wrong


def test_an_unreadable_value_is_unknown_and_not_fixed(doctor_with, machine) -> None:
    registry = {FILE_SYSTEM: {"LongPathsEnabled": NotSeen(unreadable="access denied")}}
    host = doctor_with(LONG_PATHS, host=machine(registry=registry))
    assert run("--fix", "--yes").exit_code == 3
    assert fixes(host) == []


def test_a_dry_run_shows_the_actions_and_the_commands_and_changes_nothing(doctor_with) -> None:
    host = doctor_with(LONG_PATHS, TEMP_DIR)
    before = host.machine
    result = run("fix", "--dry-run")
    assert result.exit_code == 1
    assert f"set {FILE_SYSTEM}\\LongPathsEnabled = 1 (REG_DWORD)" in result.stdout
    assert "create the folder C:\\Temp" in result.stdout
    assert "by hand: type this" in result.stdout
    assert (host.machine, fixes(host)) == (before, [])


def test_nothing_is_changed_if_the_run_cannot_be_recorded(doctor_with, tmp_path) -> None:
    host = doctor_with(LONG_PATHS)
    before = host.machine
    (tmp_path / "state").write_bytes(b"a file in the way")
    result = run("fix", "--yes")
    assert result.exit_code == 4
    assert "Nothing was changed" in result.stdout
    assert host.machine == before


def test_remaining_findings_are_listed_with_what_to_do(doctor_with) -> None:
    doctor_with(state_check("by-hand", enable_long_paths(), applicability="manual"))
    result = run("fix", "--yes")
    assert result.exit_code == 1
    assert "by-hand stays open: by hand" in result.stdout
    assert "Do it: type this" in result.stdout


def test_nothing_is_changed_without_a_terminal_for_the_question(doctor_with) -> None:
    host = doctor_with(LONG_PATHS)
    before = host.machine
    result = run("fix")
    assert result.exit_code == 1
    assert "stdin is not a terminal" in result.stdout
    assert "Nothing was changed." in result.stdout
    assert (host.machine, fixes(host)) == (before, [])


@pytest.mark.parametrize(
    ("answer", "agreed"), [("y\n", True), ("Yes\n", True), ("\n", False), ("n\n", False), ("", False)]
)
def test_only_yes_confirms_the_question(monkeypatch, answer, agreed) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr(sys, "stdin", Terminal(answer))
    assert doctor.commands.common.confirmed("Apply?", Printer(io.StringIO())) is agreed


def test_only_the_named_check_is_fixed(doctor_with) -> None:
    host = doctor_with(LONG_PATHS, TEMP_DIR)
    assert run("fix", "temp-dir", "--yes").exit_code == 0
    assert short_temp().is_applied(host)
    assert not enable_long_paths().is_applied(host)


def test_an_unsafe_fix_requires_its_name_or_unsafe(doctor_with) -> None:
    unsafe = state_check("risky", short_temp(), applicability="unsafe")
    host = doctor_with(unsafe)
    assert "aios doctor fix risky" in run("fix", "--yes").stdout
    assert fixes(host) == []
    assert run("fix", "--unsafe", "--yes").exit_code == 0
    run("undo")
    assert run("fix", "risky", "--yes").exit_code == 0


def test_a_failed_fix_exits_with_4(doctor_with, monkeypatch) -> None:
    host = doctor_with(LONG_PATHS)

    def refuse(key: str, name: str, value: Any) -> None:
        raise PermissionError("access denied")

    monkeypatch.setattr(host, "set_registry_value", refuse)
    result = run("fix", "--yes")
    assert result.exit_code == 4
    assert "access denied" in result.stdout


def test_a_fix_that_does_not_help_ends_with_4(doctor_with) -> None:
    stubborn = replace(LONG_PATHS, judge=lambda _: LONG_PATHS.judge(doctor.host.Found((None,))))
    doctor_with(stubborn)
    assert run("fix", "--yes").exit_code == 4


def test_a_pending_restart_exits_with_5(doctor_with) -> None:
    doctor_with(state_check("x", enable_long_paths(), restart="system"))
    result = run("--fix", "--yes", "--json")
    assert result.exit_code == 5
    assert json.loads(result.stdout)["pending_restart"] is True


def test_a_refused_prompt_leaves_the_finding_open(doctor_with, machine) -> None:
    host = doctor_with(LONG_PATHS, TEMP_DIR, host=machine(elevated=False))
    result = run("--fix", "--yes")
    assert result.exit_code == 1
    assert "the answer was no" in result.stdout
    assert short_temp().is_applied(host)
    assert not enable_long_paths().is_applied(host)


def test_with_administrator_rights_the_shown_value_alone_is_changed_and_undone(doctor_with, machine) -> None:
    host = machine(elevated=False)
    before = host.machine

    def reg(changes: Sequence[RegistryChange]) -> int:
        for change in changes:
            host.as_administrator().set_registry_value(*change)
        return 0

    host.elevate = reg
    doctor_with(LONG_PATHS, TEMP_DIR, host=host)
    shown = run("--fix", "--yes")
    assert shown.exit_code == 0
    assert "asks for administrator rights" in shown.stdout
    assert enable_long_paths().is_applied(host)
    ((_, line),) = host.asked
    assert line.count("reg.exe") == 1
    assert f'add "{FILE_SYSTEM}" /v "LongPathsEnabled" /t REG_DWORD /d 1 /f /reg:64 ' in line
    assert run("undo").exit_code == 0
    assert host.machine == before


def test_a_refused_undo_exits_with_4(doctor_with) -> None:
    host = doctor_with(LONG_PATHS)
    run("fix", "--yes")
    host.set_registry_value(FILE_SYSTEM, "LongPathsEnabled", RegistryValue(type="REG_DWORD", value=7))
    result = run("undo")
    assert result.exit_code == 4
    assert "changed since the run by something else" in result.stdout


def test_undo_ignores_a_file_among_the_runs(doctor_with) -> None:
    host = doctor_with(LONG_PATHS)
    run("fix", "--yes")
    (folder,) = fixes(host)
    folder.with_name("zz desktop.ini").write_bytes(b"")
    assert run("undo").exit_code == 0
    assert "nothing to undo" in run("undo").stdout


def test_undo_reports_a_journal_that_cannot_be_read(doctor_with) -> None:
    host = doctor_with(LONG_PATHS)
    run("fix", "--yes")
    (folder,) = fixes(host)
    (folder / "actions.jsonl").unlink()
    (folder / "actions.jsonl").mkdir()
    result = run("undo")
    assert result.exit_code == 4
    assert f"Cannot read what was changed from {folder.parent}" in result.stdout


def test_undo_undoes_the_newest_run_that_is_not_undone(doctor_with) -> None:
    host = doctor_with(LONG_PATHS, TEMP_DIR)
    run("fix", "long-paths", "--yes")
    (first,) = fixes(host)
    first.rename(first.with_name(f"2000{first.name[4:]}"))  # so that the order does not depend on a second
    run("fix", "temp-dir", "--yes")
    run("undo")
    assert enable_long_paths().is_applied(host) and not short_temp().is_applied(host)
    run("undo")
    assert not enable_long_paths().is_applied(host)


@pytest.mark.parametrize(
    "arguments",
    [["--json"], ["--json", "--fix", "--yes"], ["--json", "--fix", "--dry-run"], ["--json", "--fix"]],
)
def test_stdout_is_the_json_report_and_nothing_else(doctor_with, arguments) -> None:
    doctor_with(LONG_PATHS, TEMP_DIR)
    jsonschema.validate(json.loads(run(*arguments).stdout), SCHEMA)


def pretend_no_torch(host: FakeHost, monkeypatch: pytest.MonkeyPatch) -> None:
    """Restore all checks of the command, on a machine on which no backend can be tested."""
    monkeypatch.undo()
    monkeypatch.setattr(doctor.commands.common, "live_host", lambda: host)
    host._machine.distributions.update({"torch": None, "flash-attn": None, "xformers": None})


def test_a_diagnosis_writes_only_its_report_and_the_capability_file(doctor_with, monkeypatch) -> None:
    host = doctor_with(LONG_PATHS)
    home = Path(str(host.variable("AIOS_HOME")))
    run()
    assert [file.name for file in home.rglob("*") if file.is_file()] == ["report.json"]

    pretend_no_torch(host, monkeypatch)
    result = run("--only", "backend-*", "--json")
    assert Path(json.loads(result.stdout)["capability_file"]) == home / "capability.json"
    assert sorted(file.name for file in home.iterdir()) == ["capability.json", "runs"]
    written = json.loads((home / "capability.json").read_text(encoding="utf-8"))
    assert {backend["status"] for backend in written["backends"].values()} == {"unavailable"}


def test_an_unwritable_capability_file_is_reported(doctor_with, monkeypatch, tmp_path) -> None:
    host = doctor_with()
    pretend_no_torch(host, monkeypatch)
    result = run("--only", "backend-*", "--capability-file", str(tmp_path))
    assert result.exit_code == 1
    assert "Cannot write the capability file" in result.stderr


def test_a_fix_reports_a_capability_file_that_cannot_be_written(doctor_with, monkeypatch, tmp_path) -> None:
    host = doctor_with()
    pretend_no_torch(host, monkeypatch)
    monkeypatch.setattr(
        type(host), "variable", lambda self, name: str(tmp_path) if name == "AIOS_CAPABILITY_FILE" else None
    )
    for arguments in (["--fix", "--yes", "--only", "backend-*"], ["fix", "--yes", "backend-*"]):
        result = run(*arguments)
        assert result.exit_code == 1, arguments
        assert "Cannot write the capability file" in result.stderr


def test_a_recording_can_be_diagnosed(doctor_with, tmp_path) -> None:
    doctor_with(LONG_PATHS, TEMP_DIR)
    file = tmp_path / "Zoë B.json"
    assert run("record", str(file)).exit_code == 0
    shown = run("--machine", str(file), "--json")
    assert [f["status"] for f in json.loads(shown.stdout)["findings"]] == ["error", "error"]


def test_ascii_applies_to_the_whole_console_report(doctor_with) -> None:
    doctor_with(says("ok", judge=lambda: Finding(check="x", status="ok", summary="Zoë ✓")))
    assert "\\xeb" in run("--ascii").stdout and run("--ascii").stdout.isascii()
    assert "Zoë ✓" in run().stdout


@pytest.mark.parametrize("encoding", ["cp1252", "cp437", "cp1251", "ascii", "utf-8"])
def test_a_real_process_in_a_pipe_of_any_encoding(machine, tmp_path, encoding) -> None:
    file = tmp_path / "Zoë B.json"
    home = "C:\\Users\\Zoë Бах"
    host = machine(environment={"TEMP": home, "TMP": home})
    file.write_text(host.machine.to_json(), encoding="utf-8")
    environment = {
        **os.environ,
        "PYTHONIOENCODING": encoding,
        "PYTHONUTF8": "0",
        "AIOS_HOME": str(tmp_path / "s"),
    }
    for form in (["-v"], ["--json"]):
        done = subprocess.run(
            [
                sys.executable,
                str(ROOT / "aios.py"),
                "doctor",
                "--machine",
                str(file),
                *form,
                "--skip",
                "backend-*",
            ],
            capture_output=True,
            env=environment,
        )
        assert done.returncode in (1, 3), done.stderr
        assert done.stderr == b""
        text = done.stdout.decode(encoding)
        if form == ["--json"]:
            jsonschema.validate(json.loads(text), SCHEMA)
    assert not (tmp_path / "s").exists()


@pytest.mark.skipif(sys.platform == "win32", reason="Windows does not run shell scripts")
def test_programs_that_hang_are_ended_and_named(tmp_path) -> None:
    for name in ("nvidia-smi", "nvcc", "git", "ldconfig", "c++"):
        (tmp_path / name).write_text("#!/bin/sh\nsleep 3600\n", encoding="utf-8")
        (tmp_path / name).chmod(0o755)
    environment = {
        **os.environ,
        "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}",
        "AIOS_HOME": str(tmp_path / "s"),
    }
    # The programs sleep for longer than a test may take
    done = subprocess.run(
        [sys.executable, str(ROOT / "aios.py"), "doctor", "--json", "--offline", "--timeout", "2"],
        capture_output=True,
        env=environment,
    )
    findings = {finding["check"]: finding for finding in json.loads(done.stdout)["findings"]}
    assert findings["nvidia-driver"]["status"] == "unknown"
    assert "nvidia-smi did not answer within" in findings["nvidia-driver"]["summary"]
    assert findings["gpu"]["because_of"] == "nvidia-driver"
    assert done.returncode == 3
