"""One run at a time per folder and log file; the system releases the locks of a dead process."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from trainer.errors import UserError
from trainer.survival.lock import lock_run

HOLDER = """
import sys
from pathlib import Path
from trainer.survival.lock import lock_run
with lock_run(Path(sys.argv[1]), Path(sys.argv[2])):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "out put ß"


@contextmanager
def another_run(folder: Path, log_file: Path) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", HOLDER, str(folder), str(log_file)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout and process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_a_second_run_in_a_folder_is_refused_and_the_other_process_is_named(folder: Path) -> None:
    other = another_run(folder, folder / "metrics.jsonl")
    mine = lock_run(folder, folder.parent / "mine.jsonl")
    with other as process, pytest.raises(UserError) as refused, mine:
        pytest.fail("two runs in one folder")
    words = str(refused.value)
    assert f"Another run is writing to {folder.absolute()}: process {process.pid} on " in words
    assert ", since 20" in words
    assert "--output-dir" in words


def test_a_second_run_with_the_same_log_file_is_refused(folder: Path) -> None:
    log_file = folder / "metrics.jsonl"
    refused = pytest.raises(UserError, match=r"metrics.jsonl: process \d+ on .*--log-file")
    with another_run(folder, log_file), refused, lock_run(folder.parent / "elsewhere", log_file):
        pytest.fail("two runs in one log file")


def test_a_killed_run_releases_its_locks(folder: Path) -> None:
    with another_run(folder, folder / "metrics.jsonl"):
        pass
    assert (folder / "run.holder").exists(), "a killed run cannot clean up"
    with lock_run(folder, folder / "metrics.jsonl"):
        assert f"process {os.getpid()} " in (folder / "run.holder").read_text(encoding="utf-8")


def test_a_lock_leaves_no_files(folder: Path) -> None:
    with lock_run(folder, folder / "metrics.jsonl"):
        (folder / "kept").touch()
    assert [path.name for path in folder.iterdir()] == ["kept"]
    with lock_run(folder.parent / "empty", folder.parent / "empty" / "metrics.jsonl"):
        pass
    assert not (folder.parent / "empty").exists()


def test_a_folder_that_cannot_be_created_is_reported(folder: Path) -> None:
    folder.write_text("a file")
    refused = pytest.raises(UserError, match=r"cannot be written to: .*--output-dir")
    with refused, lock_run(folder, folder / "metrics.jsonl"):
        pytest.fail("in a file")


def test_a_run_that_fails_leaves_no_empty_folder(folder: Path) -> None:
    with pytest.raises(UserError, match="refused"), lock_run(folder, folder / "metrics.jsonl"):
        raise UserError("refused")
    assert not folder.exists()
