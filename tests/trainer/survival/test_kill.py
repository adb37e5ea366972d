"""A run that is killed repeatedly, also while it writes checkpoints, ends bit-equal to an uninterrupted one."""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Settings = dict[str, dict[str, Any]]
WriteConfig = Callable[[Any], Path]
Records = Callable[[Path], list[dict[str, Any]]]
STEPS, KILLS = 120, 10


def train(*arguments: str) -> None:
    """Run `aios train` in a child process."""
    import torch

    import aios

    torch.set_num_threads(1)
    with Path(os.devnull).open("w", encoding="utf-8") as nowhere:
        sys.stdout = sys.stderr = nowhere
        aios.app(["train", *arguments], prog_name="aios")


def train_until_a_chunk_of_step_8(*arguments: str) -> None:
    """As `train`, but the process is killed after two of the chunks of its eighth step."""
    from torch._subclasses.fake_tensor import FakeTensor

    from trainer.learning.chunks import Chunked

    real, steps = Chunked._parts, [0]

    def parts(self: Any, batch: Any, drawn: Any, carry: Any, chunk: int) -> Any:
        real_data = not isinstance(batch.tokens, FakeTensor)  # not the memory estimate
        steps[0] += real_data and chunk == carry.count - 1  # the first that goes backward
        if steps[0] == 8 and chunk == carry.count - 3:
            os.kill(os.getpid(), signal.SIGKILL)
        yield from real(self, batch, drawn, carry, chunk)

    Chunked._parts = parts  # type: ignore[method-assign]
    train(*arguments)


def losses(records: list[dict[str, Any]]) -> dict[int, float]:
    return {record["step"]: record["loss"] for record in records if record["event"] == "train"}


def newest_step(log: Path) -> int:
    lines = log.read_bytes().splitlines() if log.exists() else []
    return max((json.loads(line)["step"] for line in lines if line.endswith(b"}")), default=0)


@pytest.mark.slow
@pytest.mark.skipif(
    sys.platform == "win32", reason="the same under Wine, by TerminateProcess: test_wine_survival.py"
)
def test_a_run_killed_ten_times_is_bit_equal_to_an_uninterrupted_one(
    settings: Settings, write_config: WriteConfig, records: Records, tmp_path: Path
) -> None:
    settings["model"]["architecture"] |= dict.fromkeys(("resid_pdrop", "embd_pdrop", "attn_pdrop"), 0.1)
    settings["training"] |= {"steps": STEPS, "gradient_accumulation_steps": 2, "checkpoint_every": 3}
    config = str(write_config(settings))
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["aios", "trainer.run", "trainer.survival.memory_estimate"])
    whole = context.Process(target=train, args=("--config", config, "--output-dir", str(tmp_path / "whole")))
    whole.start()

    chance = random.Random(6)
    log, checkpoints = tmp_path / "out" / "metrics.jsonl", tmp_path / "out" / "checkpoints"
    killed_at, while_writing = [], 0
    for number in range(KILLS):
        run = context.Process(target=train, args=("--config", config, "--resume"))
        run.start()
        goal = STEPS * (number + 1) // (KILLS + 1)
        while run.is_alive() and newest_step(log) < goal:
            time.sleep(0.002)
        if number % 2:
            while run.is_alive() and not [*checkpoints.glob("*.partial")]:
                time.sleep(0.0005)
            time.sleep(chance.uniform(0, 0.02))
        else:
            time.sleep(chance.uniform(0, 0.05))
        run.kill()
        run.join()
        assert run.exitcode == -9, "it was killed while running"
        killed_at.append(newest_step(log))
        while_writing += bool([*checkpoints.glob("*.partial")])
    assert max(killed_at) < STEPS
    assert while_writing >= 2, "some kills hit the writing of a checkpoint"

    last = context.Process(target=train, args=("--config", config, "--resume"))
    last.start()
    last.join()
    whole.join()
    assert (last.exitcode, whole.exitcode) == (0, 0)
    expected = losses(records(tmp_path / "whole" / "metrics.jsonl"))
    assert losses(records(log)) == expected
    assert list(expected) == list(range(1, STEPS + 1))
    found = records(log)
    assert [record["step"] for record in found if record["event"] == "train"] == list(expected), (
        "each step once"
    )
    assert not [*checkpoints.glob("*.partial")]
    assert not [*(tmp_path / "out").glob("*.holder")]


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="sends a signal that Windows does not have")
def test_a_run_in_chunks_that_is_killed_between_them_is_bit_equal(
    settings: Settings, write_config: WriteConfig, records: Records, tmp_path: Path
) -> None:
    settings["model"]["architecture"] |= dict.fromkeys(("resid_pdrop", "embd_pdrop", "attn_pdrop"), 0.1)
    settings["training"] |= {
        "steps": 12,
        "checkpoint_every": 5,
        "use_chunked_training": True,
        "chunk_size": 12,
    }
    settings["training"] |= {"chunk_gradients": "exact", "recompute_carries": True}
    settings["model"]["window_size"] = 8
    config = str(write_config(settings))
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["aios", "trainer.run", "trainer.survival.memory_estimate"])

    def finish(*arguments: str, target: Callable[..., None] = train) -> int | None:
        process = context.Process(target=target, args=("--config", config, *arguments))
        process.start()
        process.join()
        return process.exitcode

    assert finish("--output-dir", str(tmp_path / "whole")) == 0
    assert finish(target=train_until_a_chunk_of_step_8) == -9
    log = tmp_path / "out" / "metrics.jsonl"
    assert newest_step(log) == 7
    assert finish("--resume") == 0
    assert losses(records(log)) == losses(records(tmp_path / "whole" / "metrics.jsonl"))
