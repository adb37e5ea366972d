"""A run over two hosts: the losses of one process, one set of records, checkpoints that any number of processes resumes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from typer.testing import Result

from tests.trainer.distributed.two_hosts import Host, finish, kill, start, two_hosts
from trainer.survival.checksums import problems_of

Settings = dict[str, dict[str, Any]]
WriteConfig = Callable[[Any], Path]
Records = Callable[[Path], list[dict[str, Any]]]
Call = Callable[..., Result]
STEPS = 6


@pytest.fixture(scope="module")
def hosts() -> Iterator[tuple[Host, Host]]:
    with two_hosts() as made:
        yield made


def losses(records: list[dict[str, Any]]) -> dict[int, float]:
    return {record["step"]: record["loss"] for record in records if record["event"] == "train"}


def train(config: Path, *more: object) -> list[str]:
    return ["train", "--config", str(config), *map(str, more)]


@pytest.mark.slow
@pytest.mark.parametrize(("sharding", "per_host"), [("none", 1), ("full", 1), ("hybrid", 2)])
def test_two_hosts_have_the_losses_of_one_process(
    hosts: tuple[Host, Host],
    settings: Settings,
    write_config: WriteConfig,
    records: Records,
    call: Call,
    tmp_path: Path,
    sharding: str,
    per_host: int,
) -> None:
    settings["training"] |= {"steps": STEPS, "batch_size": 8, "checkpoint_every": 3}
    config = write_config(settings)
    assert call("train", "--config", config, "--output-dir", tmp_path / "one").exit_code == 0
    expected = losses(records(tmp_path / "one" / "metrics.jsonl"))
    of_each = (
        *("--batch-size", 4 // (2 * per_host), "--gradient-accumulation-steps", 2, "--reduce-every-batch"),
        *("--gradient-checkpointing", "--async-checkpoints"),
    )
    statuses, out, err = finish(start(hosts, per_host, train(config, "--sharding", sharding, *of_each)))
    assert statuses == [0, 0], err
    assert out.count("Held-out text:") == 1
    found = records(tmp_path / "out" / "metrics.jsonl")
    assert losses(found) == pytest.approx(expected, abs=1e-6, rel=0)
    assert found[0]["processes"] == 2 * per_host
    assert found[0]["hosts"] == {"host-a": per_host, "host-b": per_host}
    checkpoints = sorted((tmp_path / "out" / "checkpoints").glob("step-*"))
    assert [path.name for path in checkpoints] == ["step-00000003", "step-00000006"]
    assert not any(problems_of(path) for path in checkpoints)
    assert (checkpoints[0] / "shards").exists() == (sharding != "none")


@pytest.mark.slow
def test_a_host_that_does_not_see_the_folder_is_told_before_the_first_step(
    hosts: tuple[Host, Host], settings: Settings, write_config: WriteConfig, tmp_path: Path
) -> None:
    (tmp_path / "out").mkdir()
    statuses, _, err = finish(start(hosts, 1, train(write_config(settings)), hidden=tmp_path / "out"))
    assert statuses == [1, 1]
    assert "rank 1 on host-b does not see what the first process writes there" in err
    assert "a folder that all machines share" in err
    assert not list((tmp_path / "out").glob(".shared-*"))
    assert not (tmp_path / "out" / "checkpoints").exists()


@pytest.mark.slow
def test_a_host_that_is_killed_and_started_again_ends_bit_equal(
    hosts: tuple[Host, Host],
    settings: Settings,
    write_config: WriteConfig,
    records: Records,
    tmp_path: Path,
) -> None:
    """Killed twice: at any moment, and while a checkpoint is written. On the other host the same torchrun continues."""
    settings["model"]["architecture"] |= dict.fromkeys(("resid_pdrop", "embd_pdrop", "attn_pdrop"), 0.1)
    settings["training"] |= {"steps": 90, "checkpoint_every": 3, "sharding": "full"}
    config = write_config(settings)
    statuses, _, err = finish(start(hosts, 1, train(config, "--output-dir", tmp_path / "whole")))
    assert statuses == [0, 0], err

    arguments = train(config, "--resume", "--hang-timeout", 20)
    first, second = start(hosts, 1, arguments, restarts=3)
    checkpoints, log = tmp_path / "out" / "checkpoints", tmp_path / "out" / "metrics.jsonl"
    for pattern in ("step-*[0-9]", "*.partial/shards"):
        began = len(records(log)) if log.exists() else 0
        while not log.exists() or len(records(log)) < began + 20 or not [*checkpoints.glob(pattern)]:
            assert first.poll() is None, first.communicate()
            time.sleep(0.0005)
        kill(hosts[1])
        second.communicate()
        [second] = start(hosts, 1, arguments, restarts=3, only=hosts[1])
    statuses, _, err = finish([first, second])
    assert statuses == [0, 0], err
    expected = losses(records(tmp_path / "whole" / "metrics.jsonl"))
    assert losses(records(log)) == expected
    assert [r["event"] for r in records(log)].count("run_start") == 3, "it was resumed twice"
    assert not problems_of(checkpoints / "step-00000090")


@pytest.mark.slow
def test_four_two_and_three_processes_continue_at_the_same_sample(
    hosts: tuple[Host, Host],
    settings: Settings,
    write_config: WriteConfig,
    records: Records,
    call: Call,
    tmp_path: Path,
) -> None:
    """With 12 samples a step whatever the number of processes, the losses are those of one process."""
    settings["training"] |= {"steps": 9, "batch_size": 12, "schedule": "constant"}
    config = write_config(settings)
    assert call("train", "--config", config, "--output-dir", tmp_path / "one").exit_code == 0
    for steps, per_host, sharding, batch in ((3, 2, "hybrid", 3), (6, 1, "full", 6)):
        more = ("--steps", steps, "--sharding", sharding, "--batch-size", batch, "--resume")
        statuses, _, err = finish(start(hosts, per_host, train(config, *more)))
        assert statuses == [0, 0], err
    more = ("--steps", 9, "--sharding", "full", "--batch-size", 4, "--resume")
    statuses, _, err = finish(start(hosts[:1], 3, train(config, *more)))
    assert statuses == [0], err
    expected = losses(records(tmp_path / "one" / "metrics.jsonl"))
    assert losses(records(tmp_path / "out" / "metrics.jsonl")) == pytest.approx(expected, abs=2e-6, rel=0)


@pytest.mark.long
def test_a_hang_is_found_and_names_the_process_that_did_not_arrive(
    hosts: tuple[Host, Host], settings: Settings, write_config: WriteConfig, tmp_path: Path
) -> None:
    settings["training"] |= {"steps": 100_000, "checkpoint_every": 20, "eval_every": 0}
    arguments = train(write_config(settings), "--hang-timeout", 4)
    first, second = start(hosts, 1, arguments)
    while not (tmp_path / "out" / "checkpoints" / "latest").exists():
        assert first.poll() is None, first.communicate()
        time.sleep(0.1)
    [worker] = [
        child
        for child in psutil.Process(second.pid).children(recursive=True)
        if "RANK" in child.environ() and "train" in child.cmdline()
    ]
    began = time.monotonic()
    worker.suspend()
    _, _, err = finish([first])
    worker.resume()
    assert "rank 1 on host-b has not responded" in err
    assert time.monotonic() - began < 120
    second.kill()
    second.communicate()


@pytest.mark.slow
def test_the_doctor_compares_the_hosts_and_finds_the_one_that_does_not_see_the_folder(
    hosts: tuple[Host, Host], tmp_path: Path
) -> None:
    arguments = ["doctor", "cluster", "--shared", str(tmp_path)]
    statuses, out, _ = finish(start(hosts, 1, arguments, hidden=tmp_path))
    assert statuses[0] == 1
    assert out.startswith("Error: host-b does not see the shared folder.")
    rows = [line for line in out.splitlines() if line.startswith("host-")]
    assert [row.split()[0] for row in rows] == ["host-a", "host-b"]
    assert "MB/s" in rows[0]
