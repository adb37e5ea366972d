"""`aios train --processes 2` is one run, with one output and one error, even if a process is killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
import torch.distributed as dist
from transformers import AutoConfig, AutoModelForCausalLM

from trainer.attention import huggingface
from trainer.config import TrainingSection, load
from trainer.device import Precision
from trainer.distributed import launch, processes
from trainer.distributed.processes import process_group
from trainer.errors import UserError
from trainer.learning.objective import NextToken
from trainer.survival.memory_estimate import MemoryEstimate, estimate

ROOT = Path(__file__).parents[3]
Settings = dict[str, dict[str, Any]]
WriteConfig = Callable[[Any], Path]
Records = Callable[[Path], list[dict[str, Any]]]
Start = Callable[..., "subprocess.Popen[str]"]
LONG = ("--steps", 100_000, "--checkpoint-every", 5, "--eval-every", 0)


@pytest.fixture
def start(settings: Settings, write_config: WriteConfig) -> Start:
    """Start `aios train` in two processes."""
    settings["model"]["architecture"] |= dict.fromkeys(("resid_pdrop", "embd_pdrop", "attn_pdrop"), 0.1)
    config = write_config(settings)

    def run(*more: object, processes: int = 2) -> subprocess.Popen[str]:
        arguments = ("train", "--config", config, "--processes", processes, *more)
        return subprocess.Popen(
            [sys.executable, "-m", "aios", *(str(argument) for argument in arguments)],
            env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    return run


def finish(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    out, err = process.communicate()
    return process.returncode, out, err


def losses(records: list[dict[str, Any]]) -> dict[int, float]:
    return {record["step"]: record["loss"] for record in records if record["event"] == "train"}


def wait_for_a_checkpoint(folder: Path, process: subprocess.Popen[str]) -> None:
    while not (folder / "checkpoints" / "latest").exists():
        assert process.poll() is None, process.communicate()
        time.sleep(0.1)


def worker(process: subprocess.Popen[str], rank: int) -> psutil.Process:
    children = psutil.Process(process.pid).children()
    return next(child for child in children if child.environ()["RANK"] == str(rank))


@pytest.mark.parametrize("asked", [None, 1])
def test_a_single_process_is_not_launched(monkeypatch: pytest.MonkeyPatch, asked: int | None) -> None:
    monkeypatch.delenv("RANK", raising=False)
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    assert launch.processes_to_launch(asked) == 0
    assert launch.processes_to_launch(3) == 3


def test_no_processes_are_launched_under_torchrun(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert launch.processes_to_launch(None) == launch.processes_to_launch(2) == 0
    with pytest.raises(UserError, match=r"--processes 3 contradicts torchrun, which has started 2"):
        launch.processes_to_launch(3)


def test_missing_variables_of_torchrun_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "4")
    with (
        pytest.raises(UserError, match=r"WORLD_SIZE = 4 .* LOCAL_RANK, MASTER_ADDR, MASTER_PORT"),
        process_group(),
    ):
        pytest.fail("joined without an address")


def test_gloo_without_a_network_device_is_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the Windows builds of torch 2.8 to 2.10 say: SystemPanic/vllm-windows#19."""

    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("makeDeviceForHostname(): unsupported gloo device")

    monkeypatch.setattr(processes, "rendezvous", lambda *_, **__: iter([(None, 0, 2)]))
    monkeypatch.setattr(dist, "init_process_group", fail)
    addresses = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "1"}
    for name, value in {**addresses, "RANK": "0", "WORLD_SIZE": "2", "LOCAL_RANK": "0"}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UserError, match=r"finds no network device.*2\.11"), process_group():
        pytest.fail("joined without gloo")


def test_a_run_in_two_processes_prints_and_records_once(
    start: Start, records: Records, tmp_path: Path
) -> None:
    status, out, err = finish(start())
    assert status == 0, err
    assert out.count("Held-out text:") == 1
    assert err.count("Attention backend:") == 1
    assert "Traceback" not in err
    found = records(tmp_path / "out" / "metrics.jsonl")
    assert found[0]["processes"] == 2
    assert [record["step"] for record in found if record["event"] == "train"] == [1, 2, 3, 4, 5, 6]
    assert {record["tokens"] for record in found if record["event"] == "train"} == {2 * 2 * 32}


def test_the_memory_estimate_of_shards_counts_whole_gradients_until_the_last_batch_of_a_step(
    settings: Settings,
) -> None:
    def estimated(shards: int, accumulation: int) -> MemoryEstimate:
        config = AutoConfig.for_model(**settings["model"]["architecture"], vocab_size=258)
        huggingface.attach(config, backend="sdpa", window=None)

        def build() -> tuple[Any, NextToken]:
            network = AutoModelForCausalLM.from_config(config)
            return network, NextToken(network, Precision(torch.float32))

        training = TrainingSection(gradient_accumulation_steps=accumulation)
        found = estimate(build, training, torch.device("cpu"), (2, 16), packed=True, shards=shards)
        assert found
        return found

    whole = estimated(1, 4)
    for shards, accumulation in ((2, 1), (4, 3)):
        found = estimated(shards, accumulation)
        assert found.weights == whole.weights // shards
        assert found.state == whole.state // shards
        assert found.gradients == whole.gradients // (shards if accumulation == 1 else 1)


@pytest.mark.slow
@pytest.mark.parametrize("sharding", [pytest.param("none", marks=pytest.mark.long), "full"])
def test_a_run_resumed_in_two_processes_is_bit_equal(
    start: Start, records: Records, tmp_path: Path, sharding: str
) -> None:
    arguments = ("--sharding", sharding, "--checkpoint-every", 3)
    status, _, err = finish(start(*arguments))
    assert status == 0, err
    log = tmp_path / "out" / "metrics.jsonl"
    whole = losses(records(log))
    last = tmp_path / "out" / "checkpoints" / "step-00000006"
    (last / "state.json").write_text("damaged")
    status, _, err = finish(start(*arguments, "--resume"))
    assert status == 0, err
    assert err.count("step-00000006 is damaged") == 1
    assert losses(records(log)) == whole

    status, _, err = finish(start("--resume", "--steps", 8, processes=1))
    assert status == 0, err
    assert "the number of processes changed since the checkpoint (was 2, now 1)" in err
    assert losses(records(log)).keys() == {*range(1, 9)}


@pytest.mark.slow
def test_the_others_end_after_a_process_is_killed_and_the_run_can_be_resumed(
    start: Start, records: Records, tmp_path: Path
) -> None:
    process = start(*LONG)
    wait_for_a_checkpoint(tmp_path / "out", process)
    worker(process, 1).kill()
    status, _, err = finish(process)
    assert status == 1
    assert "Process 1 of 2 was killed (SIGKILL)" in err
    assert "--resume" in err
    assert "Traceback" not in err
    step = max(losses(records(tmp_path / "out" / "metrics.jsonl")))
    status, _, err = finish(start(*LONG, "--resume", "--steps", step + 2))
    assert status == 0, err


@pytest.mark.slow
def test_a_run_can_be_started_with_torchrun(
    settings: Settings, write_config: WriteConfig, records: Records, tmp_path: Path
) -> None:
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    done = subprocess.run(
        [sys.executable, *torchrun, "-m", "aios", "train", "--config", write_config(settings)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("Held-out text:") == 1
    assert records(tmp_path / "out" / "metrics.jsonl")[0]["processes"] == 2


@pytest.mark.slow
@pytest.mark.parametrize("asked_of", ["the command", "one process"])
def test_a_stop_request_ends_all_processes_with_a_checkpoint(
    start: Start, records: Records, tmp_path: Path, asked_of: str
) -> None:
    process = start(*LONG, "--checkpoint-every", 0)
    log = tmp_path / "out" / "metrics.jsonl"
    while process.poll() is None and not (log.exists() and '"train"' in log.read_text()):
        time.sleep(0.1)
    target = process.pid if asked_of == "the command" else worker(process, 1).pid
    os.kill(target, signal.SIGINT)
    status, out, err = finish(process)
    assert status == 130, err
    assert out.count("Stopped after step") == 1
    assert "Traceback" not in err
    assert [record["event"] for record in records(log)][-3:] == ["checkpoint", "stopped", "run_end"]


@pytest.mark.long
def test_shards_with_checkpointing_and_torch_compile_have_the_losses_of_an_eager_process(
    settings: Settings,
    start: Start,
    write_config: WriteConfig,
    records: Records,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "inductor"))
    settings["model"]["architecture"] |= dict.fromkeys(("resid_pdrop", "embd_pdrop", "attn_pdrop"), 0.0)
    settings["model"]["gradient_checkpointing"] = True
    settings["training"] |= {"steps": 8, "eval_every": 0}
    found = {}
    for name, count, more in (("shards", 2, ("--sharding", "full", "--compile")), ("eager", 1, ())):
        output = tmp_path / name
        settings["training"]["batch_size"] = 4 // count
        write_config(settings)
        status, _, err = finish(start("--output-dir", output, *more, processes=count))
        assert status == 0, err
        found[name] = records(output / "metrics.jsonl")
    [gain] = (record for record in found["shards"] if record["event"] == "compile")
    assert gain["error"] is None and gain["compiled_tokens_per_second"] > 0
    assert losses(found["shards"]) == pytest.approx(losses(found["eager"]), rel=1e-4)


@pytest.mark.slow
def test_an_error_is_printed_once(start: Start, tmp_path: Path) -> None:
    checkpoint = tmp_path / "out" / "checkpoints" / "step-00000001"
    checkpoint.mkdir(parents=True)
    (checkpoint / "state.json").write_text("{}")
    status, _, err = finish(start())
    assert status == 2
    assert err.count("Error:") == 1
    assert "already contains checkpoints" in err
    assert "Traceback" not in err


def test_adamw_8bit_is_refused_with_sharding(settings: Settings, write_config: WriteConfig) -> None:
    settings["training"] |= {"sharding": "full", "optimizer": "adamw_8bit"}
    with pytest.raises(UserError, match=r"adamw_8bit does not support training\.sharding = full"):
        load(write_config(settings), {})
