"""The history of runs: what is stored and for how long, how it is shown, and damaged runs."""

from __future__ import annotations

import json
import re
import shutil
from datetime import datetime, timedelta, timezone
from pathlib import Path

import jsonschema
import pytest

from doctor.models import Finding, Report
from doctor.runs.differences import difference
from doctor.runs.history import read_report, save_run
from doctor.runs.make_report import make_report
from doctor.runs.run_folders import MAX_UNCHANGED_RUNS, run_folders
from tests.doctor.calls import fixes, folders, run, state
from tests.doctor.fake_machine import (
    FILE_SYSTEM,
    LONG_PATHS,
    TEMP_DIR,
    enable_long_paths,
    identity,
    install_runtime,
    state_check,
)

ROOT = Path(__file__).parents[3]
SCHEMA = json.loads((ROOT / "doctor" / "schemas" / "report.schema.json").read_text(encoding="utf-8"))
NOON = datetime(2026, 11, 21, 12, tzinfo=timezone.utc)


def a_report(*findings: Finding, **machine: str) -> Report:
    return make_report(identity(**machine), findings, started_at=NOON, duration_seconds=1.0, recorded=False)


def finding(check: str, status: str, summary: str = "words") -> Finding:
    return Finding.model_validate({"check": check, "status": status, "summary": summary})


@pytest.mark.parametrize("arguments", [[], ["--json"], ["--only", "temp-dir"], ["fix", "--dry-run"], ["fix"]])
def test_every_diagnosis_stores_its_report(doctor_with, arguments) -> None:
    host = doctor_with(LONG_PATHS, TEMP_DIR)
    run(*arguments)
    (folder,) = folders(host)
    assert [file.name for file in folder.iterdir()] == ["report.json"]
    jsonschema.validate(json.loads((folder / "report.json").read_text(encoding="utf-8")), SCHEMA)
    assert read_report(folder) is not None


def test_a_recorded_machine_has_no_history(doctor_with, machine, tmp_path) -> None:
    host = doctor_with(LONG_PATHS)
    (tmp_path / "m.json").write_text(machine().machine.to_json(), encoding="utf-8")
    run("--machine", str(tmp_path / "m.json"))
    assert not state(host).exists()


def test_only_the_newest_diagnoses_and_all_fixes_are_kept(machine) -> None:
    host = machine()
    for number in range(MAX_UNCHANGED_RUNS + 5):
        folder = save_run(a_report(), host, NOON + timedelta(seconds=number))
        if number in (0, 3):
            (folder / "actions.jsonl").write_bytes(b"")
    kept = [folder.name for folder in folders(host)]
    assert len(kept) == MAX_UNCHANGED_RUNS + 2
    assert [name[17:19] for name in kept[:3]] == ["00", "03", "05"]


def test_other_files_are_neither_shown_nor_deleted(doctor_with) -> None:
    host = doctor_with(LONG_PATHS)
    theirs = [state(host) / "runs" / name for name in ("my notes", "2026-11-21", "zz.txt")]
    for folder in theirs:
        folder.mkdir(parents=True)
    for number in range(MAX_UNCHANGED_RUNS + 2):
        save_run(a_report(), host, NOON + timedelta(seconds=number))
    assert all(folder.is_dir() for folder in theirs)
    assert len(run_folders(host)) == MAX_UNCHANGED_RUNS
    assert "notes" not in run("runs").stdout


def test_runs_lists_what_each_run_did_and_what_can_be_undone(doctor_with) -> None:
    host = doctor_with(LONG_PATHS, TEMP_DIR)
    run()
    run("fix", "long-paths", "--yes")
    run("fix", "temp-dir", "--yes")
    run("undo")
    diagnosed, first, second = (folder.name for folder in folders(host))
    shown = run("runs")
    assert shown.exit_code == 0
    _, newest, older, oldest = re.split(r"^(?=2)", shown.stdout, flags=re.MULTILINE)
    assert second in newest and "undone" in newest and "aios undo" not in newest
    assert "create the folder C:\\Temp (undone)" in newest
    assert first in older and "fixed" in older and f"aios undo {first}" in older
    assert f"set {FILE_SYSTEM}\\LongPathsEnabled = 1 (REG_DWORD) (done)" in older
    assert diagnosed in oldest and "diagnosed" in oldest and "2 errors" in oldest


def test_without_runs_the_first_command_is_named(doctor_with) -> None:
    doctor_with(LONG_PATHS)
    result = run("runs")
    assert (result.exit_code, result.stdout) == (
        0,
        "aios has not been run here yet. To diagnose this machine: aios doctor\n",
    )


def test_a_fix_that_changed_nothing_is_shown_as_failed(doctor_with, monkeypatch) -> None:
    host = doctor_with(LONG_PATHS)

    def refuse(key: str, name: str, value: object) -> None:
        raise PermissionError("access denied")

    monkeypatch.setattr(host, "set_registry_value", refuse)
    run("fix", "--yes")
    shown = run("runs").stdout
    assert "failed" in shown and "aios undo" not in shown


def test_undo_of_an_installation_names_its_command_once_and_then_undoes_older_runs(doctor_with) -> None:
    host = doctor_with(LONG_PATHS, state_check("vc-redist", install_runtime()))
    run("fix", "long-paths", "--yes")
    run("fix", "vc-redist", "--yes")
    undone = run("undo")
    assert undone.exit_code == 4
    assert "uninstall Microsoft Visual C++ Redistributable" in undone.stdout
    assert run("undo").exit_code == 0
    assert not enable_long_paths().is_applied(host)
    assert "nothing to undo" in run("undo").stdout


@pytest.mark.parametrize("damage", ["report.json", "plan.json", "actions.jsonl"])
@pytest.mark.parametrize("how", ["garbage", "gone", "folder"])
def test_a_damaged_run_does_not_affect_others(doctor_with, damage, how) -> None:
    host = doctor_with(LONG_PATHS, TEMP_DIR)
    run("fix", "long-paths", "--yes")
    run("fix", "temp-dir", "--yes")
    damaged, sound = fixes(host)
    (damaged / damage).unlink()
    if how == "garbage":
        (damaged / damage).write_bytes(b"\x00{")
    elif how == "folder":
        (damaged / damage).mkdir()
    shown = run("runs")
    assert shown.exit_code == 0
    assert damaged.name in shown.stdout and f"aios undo {sound.name}" in shown.stdout
    assert run().exit_code == 0
    assert run("undo", sound.name).exit_code == 0


def test_diff_shows_what_changed(doctor_with) -> None:
    host = doctor_with(LONG_PATHS, TEMP_DIR)
    run()
    host._machine = host._machine.model_copy(
        update={"identity": identity(os_build="10.0.26100", elevated=True)}
    )
    run("fix", "long-paths", "--yes")
    before, after = (folder.name for folder in folders(host))
    shown = run("diff", before, after)
    assert shown.exit_code == 0
    lines = [line.strip() for line in shown.stdout.splitlines()]
    assert lines[0].startswith("os_build: 10.0.22631") and lines[0].endswith("10.0.26100")
    assert lines[1] == "long-paths"
    assert lines[2].endswith("not as it should be") and lines[3].endswith("as it should be")
    assert f"changed by {after}:" in lines
    assert "only before: temp-dir" in lines


def test_a_unique_prefix_names_a_run(doctor_with) -> None:
    host = doctor_with(LONG_PATHS)
    run()
    run()
    first, second = (folder.name for folder in folders(host))
    assert run("diff", first[:-1], second).exit_code == 0
    ambiguous = run("diff", first[:4], second)
    assert ambiguous.exit_code == 2
    assert f"{second}, {first}" in " ".join(ambiguous.stderr.replace("│", " ").split())
    missing = run("diff", "1999", second)
    assert missing.exit_code == 2 and "there is no run '1999'" in missing.stderr


def test_diff_requires_readable_reports(doctor_with) -> None:
    host = doctor_with(LONG_PATHS)
    run()
    run()
    first, second = folders(host)
    (first / "report.json").write_bytes(b"{")
    result = run("diff", first.name, second.name)
    assert result.exit_code == 2 and "report" in " ".join(result.stderr.replace("│", " ").split())


def test_findings_differ_in_status_or_in_being_checked() -> None:
    one = a_report(finding("a", "ok"), finding("b", "error"), finding("c", "ok"))
    other = a_report(finding("a", "ok"), finding("b", "ok"), finding("d", "info"))
    changes = [
        (change.before and change.before.status, change.after and change.after.status)
        for change in difference(one, other).findings
    ]
    assert changes == [("error", "ok"), (None, "info"), ("ok", None)]
    assert not difference(one, one).findings and not difference(one, one).facts
    (fact,) = difference(one, a_report(os_build="10.0.1")).facts
    assert (fact.name, fact.before, fact.after) == ("os_build", "10.0.22631", "10.0.1")


def test_a_run_that_cannot_be_stored_is_reported_and_diagnosed_as_usual(doctor_with, tmp_path) -> None:
    doctor_with(LONG_PATHS)
    healthy = run("--json")
    shutil.rmtree(tmp_path / "state")
    (tmp_path / "state").write_bytes(b"a file in the way")
    result = run("--json")
    assert result.exit_code == healthy.exit_code == 1
    assert json.loads(result.stdout)["findings"] == json.loads(healthy.stdout)["findings"]
    assert "Cannot save this run in" in result.stderr
    assert result.stderr.count("\n") == 1
