"""Nothing is lost after a kill, on a full disk, in a read-only folder, or with two doctors at once."""

from __future__ import annotations

import errno
import json
import os
import stat
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from doctor.aios_home import changing_alone
from doctor.fixes.executor import execute, undo
from doctor.fixes.journal import Journal, entries
from doctor.host.live import live_host
from tests.doctor.calls import fixes, folders, run, state
from tests.doctor.fake_machine import LONG_PATHS, TEMP_DIR, FakeHost, enable_long_paths, short_temp
from tests.doctor.fixes.killed_fixes import RECORDS, plan, prepare

HERE = Path(__file__).parent
MOMENTS = ("before", "torn", "after")


def tree(folder: Path) -> dict[str, bytes | None]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() if path.is_file() else None
        for path in sorted(folder.rglob("*"))
    }


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Path]:
    """Fixes that were killed at each record of the journal, each in a folder of its own."""
    if os.name == "nt":
        pytest.skip("these processes are forked; the Windows tests end theirs in the same places")

    def kill() -> Path:
        root = tmp_path_factory.mktemp("killed Zoë")
        for number in range(1, RECORDS + 1):
            for moment in MOMENTS:
                prepare(root / f"{number} {moment}")
        done = subprocess.run(
            [sys.executable, str(HERE / "killed_fixes.py"), str(root)],
            env={**os.environ, "PYTHONPATH": str(HERE.parents[2])},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        assert {line.split()[-1] for line in done.stdout.splitlines()} == {"9"}, done.stdout
        return root

    return kill


def before(tmp_path: Path) -> dict[str, bytes | None]:
    prepare(tmp_path / "untouched")
    return tree(tmp_path / "untouched" / "work")


def test_a_fix_killed_at_any_record_is_undone_to_the_last_byte(killed, tmp_path) -> None:
    untouched = before(tmp_path)
    for folder in killed().iterdir():
        outcomes = undo(folder / "run", live_host())
        assert all(outcome.succeeded for outcome in outcomes), (folder.name, outcomes)
        assert tree(folder / "work") == untouched, folder.name
        assert undo(folder / "run", live_host()) == (), folder.name


def test_a_fix_killed_at_any_record_is_finished_and_then_undone_to_the_last_byte(killed, tmp_path) -> None:
    untouched = before(tmp_path)
    prepare(tmp_path / "whole")
    (tmp_path / "whole" / "again").mkdir()
    execute(plan(tmp_path / "whole"), live_host(), tmp_path / "whole" / "again")
    finished = tree(tmp_path / "whole" / "work")
    for folder in killed().iterdir():
        (folder / "again").mkdir()
        outcomes = execute(plan(folder), live_host(), folder / "again")
        assert all(outcome.succeeded for outcome in outcomes), (folder.name, outcomes)
        assert tree(folder / "work") == finished, folder.name
        undo(folder / "again", live_host())
        undo(folder / "run", live_host())
        assert tree(folder / "work") == untouched, folder.name


def test_a_temporary_file_that_a_kill_left_does_not_stop_undo(tmp_path) -> None:
    prepare(tmp_path)
    untouched = tree(tmp_path / "work")
    execute(plan(tmp_path), live_host(), tmp_path / "run")
    (tmp_path / "work" / "new" / ".f.txt.0123abcd.tmp").write_bytes(b"half")
    (tmp_path / "work" / ".there.txt.0123abcd.tmp").write_bytes(b"half")
    assert all(outcome.succeeded for outcome in undo(tmp_path / "run", live_host()))
    assert tree(tmp_path / "work") == untouched


def test_similar_files_of_the_user_are_not_temporary_files(tmp_path) -> None:
    prepare(tmp_path)
    for name in (
        ".there.txt.tmp",
        ".there.txt.0123abcz.tmp",
        "there.txt.0123abcd.tmp",
        ".here.txt.0123abcd.tmp",
    ):
        (tmp_path / "work" / name).write_bytes(b"mine")
    untouched = tree(tmp_path / "work")
    execute(plan(tmp_path), live_host(), tmp_path / "run")
    undo(tmp_path / "run", live_host())
    assert tree(tmp_path / "work") == untouched


def test_a_folder_that_is_made_or_removed_halfway_is_undone(tmp_path) -> None:
    """A kill between two calls of mkdir, or of rmdir."""
    prepare(tmp_path)
    untouched = tree(tmp_path / "work")
    execute(plan(tmp_path), live_host(), tmp_path / "run")
    (tmp_path / "work" / "new" / "f.txt").unlink()
    (tmp_path / "work" / "new" / "deep").rmdir()
    assert all(outcome.succeeded for outcome in undo(tmp_path / "run", live_host()))
    assert tree(tmp_path / "work") == untouched


class FullDisk:
    """A disk that is full from the n-th write on, which is left incomplete."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, room_for: int) -> None:
        self.room_for, self.writes = room_for, 0
        self.fsync = os.fsync
        monkeypatch.setattr(os, "fsync", self)

    def __call__(self, descriptor: int) -> None:
        self.writes += not stat.S_ISDIR(os.fstat(descriptor).st_mode)
        if self.writes > self.room_for:
            size = os.fstat(descriptor).st_size
            os.ftruncate(descriptor, max(0, size - 10))
            raise OSError(errno.ENOSPC, "No space left on device")
        self.fsync(descriptor)


PLAN_AND_JOURNAL = 8  # with the report before them; behind them are the end of the run and its report


@pytest.mark.parametrize("room_for", range(10))
def test_a_disk_that_is_full_at_any_write_loses_nothing(doctor_with, monkeypatch, room_for) -> None:
    host = doctor_with(LONG_PATHS, TEMP_DIR)
    untouched = host.machine
    with monkeypatch.context() as full:
        FullDisk(full, room_for)
        result = run("fix", "--yes")
    assert result.exit_code == (4 if room_for < PLAN_AND_JOURNAL else 0)
    if room_for < 2:  # neither the report of the look nor the plan
        assert host.machine == untouched
    assert run().exit_code in (0, 1)
    while run("undo").stdout != "There is nothing to undo.\n":
        pass
    assert host.machine == untouched


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="the administrator may write anywhere")
def test_a_read_only_state_folder_does_not_change_the_diagnosis(doctor_with) -> None:
    host = doctor_with(LONG_PATHS)
    state(host).mkdir()
    state(host).chmod(0o500)
    try:
        assert_read_only(host)
    finally:
        state(host).chmod(0o700)


def test_a_state_folder_without_write_permission_does_not_change_the_diagnosis(
    doctor_with, monkeypatch
) -> None:
    host = doctor_with(LONG_PATHS)

    def refuse(self: Path, *_: Any, **__: Any) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "mkdir", refuse)
    assert_read_only(host)


def assert_read_only(host: FakeHost) -> None:
    untouched = host.machine
    looked = run("--json")
    assert looked.exit_code == 1
    assert json.loads(looked.stdout)["findings"][0]["status"] == "error"
    assert looked.stderr.count("\n") == 1 and "Permission denied" in looked.stderr
    fixed = run("fix", "--yes")
    assert fixed.exit_code == 4
    assert "Nothing was changed: cannot record the run" in fixed.stdout
    assert host.machine == untouched


def test_a_second_fix_or_undo_names_the_running_one_and_changes_nothing(doctor_with, monkeypatch) -> None:
    host = doctor_with(LONG_PATHS, TEMP_DIR)
    run("fix", "temp-dir", "--yes")
    untouched = host.machine
    monkeypatch.setattr("doctor.aios_home.SECONDS_TO_WAIT", 0.1)
    with changing_alone(host):
        for arguments in (["fix", "--yes"], ["--fix", "--yes"], ["undo"]):
            second = run(*arguments)
            assert second.exit_code == 4, arguments
            assert f"another run of aios (process {os.getpid()}, since 2" in second.stdout
            assert host.machine == untouched
        assert run().exit_code == 1, "looking is free"
        told = run("--fix", "--yes", "--json")
        assert json.loads(told.stdout)["summary"]["error"] == 1, "a program gets its report all the same"
    assert run("fix", "--yes").exit_code == 0
    assert len(fixes(host)) == 2, "those that came too late left no plan"


def test_two_doctors_can_diagnose_at_once(doctor_with) -> None:
    host = doctor_with(LONG_PATHS, TEMP_DIR)
    from doctor.runs.doctor_run import Target, run_doctor

    def look() -> None:
        assert run_doctor(Target(host, (LONG_PATHS, TEMP_DIR))).save_error is None

    threads = [threading.Thread(target=look) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(folders(host)) == 8
    assert all((folder / "report.json").is_file() for folder in folders(host))


def test_an_interrupt_at_the_keyboard_is_an_interrupted_fix(doctor_with, monkeypatch) -> None:
    host = doctor_with(LONG_PATHS, TEMP_DIR)
    untouched = host.machine

    def interrupt(path: str) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as interrupted:
        interrupted.setattr(host, "make_directory", interrupt)
        assert run("fix", "--yes").exit_code == 130
    assert enable_long_paths().is_applied(host) and not short_temp().is_applied(host)
    assert "A fix was interrupted" in run().stdout
    assert run("undo").exit_code == 0
    assert host.machine == untouched


def test_a_foreign_journal_is_undone_only_where_it_has_the_earlier_state(machine, run_folder) -> None:
    host = machine()
    journal = Journal(run_folder / "actions.jsonl")
    with journal.path.open("ab") as file:
        file.write(b'{"event": "done", "step": {"id": []}}\n{"event": {}, "step": 1}\n[[]]\nnull\n\xff\n')
    execute(plan_of(host), host, run_folder)
    assert [entry.progress for entry in entries(run_folder)] == ["done"] * 3


def plan_of(host: FakeHost) -> Any:
    from doctor.diagnosis import diagnose
    from doctor.fixes.plan import make_plan

    return make_plan(diagnose(host, [LONG_PATHS, TEMP_DIR]).findings)
