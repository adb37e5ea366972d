"""Full disks and damaged checkpoints: no intact checkpoint is lost, and the run continues when there is space."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from typer.testing import Result

from trainer.records import metrics
from trainer.survival import checkpoint, checksums, own_checkpoints
from trainer.survival.checkpoint import CheckpointFolder
from trainer.survival.checksums import problems_of

Settings = dict[str, dict[str, Any]]
WriteConfig = Callable[[Any], Path]
Call = Callable[..., Result]
Records = Callable[[Path], list[dict[str, Any]]]
FULL = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def losses(records: list[dict[str, Any]]) -> dict[int, float]:
    return {record["step"]: record["loss"] for record in records if record["event"] == "train"}


@contextmanager
def small_disk(folder: Path, size: int) -> Iterator[Callable[[int], object]]:
    """Mount a real small disk, in memory. Yields a function that enlarges it."""
    if sys.platform != "linux" or os.geteuid() != 0:
        pytest.skip("only root can mount a small disk")
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    if subprocess.run(command, capture_output=True).returncode:
        pytest.skip("no disk can be mounted here")
    try:
        yield (
            lambda larger: (
                subprocess.run(
                    ["mount", "-o", f"remount,size={larger}", str(folder)], check=True, capture_output=True
                )
                and None
            )
        )
    finally:
        subprocess.run(["umount", str(folder)], check=True)


@pytest.fixture
def whole(
    settings: Settings, write_config: WriteConfig, call: Call, records: Records, tmp_path: Path
) -> dict[int, float]:
    """The losses of a run with enough space. Its checkpoints are in `whole`."""
    settings["training"] |= {"steps": 8, "checkpoint_every": 2}
    assert (
        call("train", "--config", write_config(settings), "--output-dir", tmp_path / "whole").exit_code == 0
    )
    return losses(records(tmp_path / "whole" / "metrics.jsonl"))


def size_of(folder: Path) -> int:
    return sum(-(-file.stat().st_size // 4096) * 4096 for file in folder.rglob("*") if file.is_file())


def test_a_full_disk_ends_the_run_and_with_space_it_resumes_bit_equal(
    write_config: WriteConfig,
    settings: Settings,
    whole: dict[int, float],
    call: Call,
    records: Records,
    tmp_path: Path,
) -> None:
    one = size_of(tmp_path / "whole" / "checkpoints" / "step-00000008")
    disk, config = tmp_path / "small disk ß", write_config(settings)
    with small_disk(disk, int(one * 2.5)) as enlarge:
        out = disk / "out"
        ended = call("train", "--config", config, "--output-dir", out)
        assert ended.exit_code == 1, ended.output
        assert "The checkpoint of step 6 could not be written" in ended.stderr
        assert "continue with --resume" in ended.stderr
        names = sorted(path.name for path in (out / "checkpoints").glob("step-*"))
        assert names == ["step-00000002", "step-00000004"], "and the incomplete one was deleted"
        assert not any(problems_of(out / "checkpoints" / name) for name in names)
        enlarge(one * 5)
        assert call("train", "--config", config, "--output-dir", out, "--resume").exit_code == 0
        assert losses(records(out / "metrics.jsonl")) == whole


def test_records_that_cannot_be_written_stop_the_run_with_a_checkpoint(
    write_config: WriteConfig,
    settings: Settings,
    whole: dict[int, float],
    call: Call,
    records: Records,
    tmp_path: Path,
) -> None:
    disk, config = tmp_path / "small disk", write_config(settings)
    with small_disk(disk, 3 * 4096) as enlarge:
        log = disk / "metrics.jsonl"
        (disk / "other").write_bytes(bytes(4096))
        ended = call("train", "--config", config, "--log-file", log)
        assert ended.exit_code == 1, ended.output
        assert "cannot write the log file " in ended.stderr
        assert "No space left on device" in " ".join(ended.stderr.split())
        newest = CheckpointFolder(tmp_path / "out" / "checkpoints", 1).newest(pytest.fail)
        assert newest
        step = int(newest.name.removeprefix("step-"))
        assert 0 < step < 8
        written = losses(records(log))
        assert written == {n: loss for n, loss in whole.items() if n <= max(written)}, "only whole lines"
        enlarge(1 << 20)
        resumed = call("train", "--config", config, "--log-file", log, "--resume")
        assert resumed.exit_code == 0, resumed.output
        after = losses(records(log))
        assert {n: loss for n, loss in whole.items() if n > step} == {n: after[n] for n in after if n > step}


@pytest.mark.parametrize("failing", range(5, 9))
def test_a_record_that_cannot_be_written_is_retried(
    write_config: WriteConfig,
    settings: Settings,
    whole: dict[int, float],
    call: Call,
    records: Records,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    failing: int,
) -> None:
    real, count = metrics.MetricsLog._append, iter(range(1, 99))

    def append(log: metrics.MetricsLog, line: bytes) -> None:
        if next(count) == failing:
            raise FULL
        real(log, line)

    monkeypatch.setattr(metrics.MetricsLog, "_append", append)
    config = write_config(settings)
    ended = call("train", "--config", config)
    assert ended.exit_code == 130, "all records were written in the end"
    assert "Stopping after this step, with a checkpoint: cannot write the log file" in ended.stderr
    assert call("train", "--config", config, "--resume").exit_code == 0
    assert losses(records(tmp_path / "out" / "metrics.jsonl")) == whole


def fail_at(failing: int, tried: list[str], patch: pytest.MonkeyPatch) -> None:
    """Simulate a full disk at one write of a checkpoint, counted from 1, and append its name to `tried`."""
    count = iter(range(1, 999))

    def failing_at_its_turn(name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def write(*arguments: Any) -> Any:
            if next(count) == failing:
                tried.append(name)
                raise FULL
            return real(*arguments)

        return write

    for module, name in WRITES:
        patch.setattr(module, name, failing_at_its_turn(name, getattr(module, name)))


WRITES = (
    *((checkpoint, name) for name in ("save_file", "write_json", "move", "write_atomically")),
    *((checksums, name) for name in ("write_json", "flush", "flush_folder")),
)


def test_a_disk_full_at_any_write_of_a_checkpoint_loses_no_other_checkpoint(
    write_config: WriteConfig,
    settings: Settings,
    whole: dict[int, float],
    call: Call,
    records: Records,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settings["training"]["keep_checkpoints"] = 1
    config, out = write_config(settings), tmp_path / "out"
    assert call("train", "--config", config, "--steps", 4, "--schedule", "constant").exit_code == 0
    shutil.copytree(out, tmp_path / "before")
    tried: list[str] = []
    for failing in range(1, 99):
        with monkeypatch.context() as patch:
            fail_at(failing, tried, patch)
            ended = call("train", "--config", config, "--steps", 6, "--schedule", "constant", "--resume")
        assert CheckpointFolder(out / "checkpoints", 1).newest(pytest.fail), tried
        if ended.exit_code == 0:
            break
        assert (ended.exit_code, "No space left on device" in " ".join(ended.stderr.split())) == (1, True), (
            tried
        )
        shutil.rmtree(out)
        shutil.copytree(tmp_path / "before", out)
    assert set(tried) == {name for _, name in WRITES}, "each of them failed once"


def test_a_checkpoint_with_a_truncated_file_or_a_flipped_bit_is_skipped(
    whole: dict[int, float], tmp_path: Path
) -> None:
    newest = tmp_path / "whole" / "checkpoints" / "step-00000008"
    folder = CheckpointFolder(newest.parent, 2)
    files = [file for file in newest.rglob("*") if file.is_file()]
    assert len(files) >= 5
    for file in files:
        good = file.read_bytes()
        flipped = [
            good[:at] + bytes([good[at] ^ bit]) + good[at + 1 :]
            for at, bit in ((0, 1), (len(good) // 3, 0x20), (len(good) // 2, 0x80), (len(good) - 2, 4))
        ]
        for bad in (b"", good[: len(good) // 2], good[:-1], b"{}", b"[]", *flipped):
            if file.name == own_checkpoints.CHECKSUMS and bad == good[:-1]:
                continue  # only the last line break is missing
            file.write_bytes(bad)
            said: list[str] = []
            found = folder.newest(said.append)
            assert found, file
            assert (found.name, len(said)) == ("step-00000006", 1), (file, bad[:60])
            assert file.name in said[0]
        file.write_bytes(good)
    assert folder.newest(pytest.fail) == newest


def test_a_run_whose_checkpoints_are_all_damaged_is_refused(
    write_config: WriteConfig, settings: Settings, whole: dict[int, float], call: Call, tmp_path: Path
) -> None:
    for state in (tmp_path / "whole" / "checkpoints").glob("*/state.json"):
        state.write_bytes(b"{")
    result = call("train", "--config", write_config(settings), "--output-dir", tmp_path / "whole", "--resume")
    assert result.exit_code == 2
    assert "All checkpoints in" in result.stderr
    assert "are damaged, so the run cannot be resumed" in " ".join(result.stderr.split())


@pytest.mark.parametrize("pointer", [None, "step-00000099\n", "../elsewhere\n", ""])
def test_a_missing_or_wrong_latest_file_does_no_harm(
    write_config: WriteConfig,
    settings: Settings,
    whole: dict[int, float],
    call: Call,
    records: Records,
    tmp_path: Path,
    pointer: str | None,
) -> None:
    latest = tmp_path / "whole" / "checkpoints" / "latest"
    latest.unlink() if pointer is None else latest.write_text(pointer)
    (latest.parent / "step-00000009 - copy").mkdir()
    config = write_config(settings)
    result = call("train", "--config", config, "--output-dir", tmp_path / "whole", "--resume", "--steps", 10)
    assert result.exit_code == 0
    assert "resuming from" in result.stderr
    assert "step-00000008" in result.stderr
    assert latest.read_text() == "step-00000010\n"
    assert (latest.parent / "step-00000009 - copy").exists(), "not ours"
