"""Two processes give the same result as one with twice the batch size and whole sequences, with and without sharding."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.trainer.distributed import processes_at_work
from trainer.distributed.processes import ALONE

ROOT = Path(__file__).parents[3]
CASES: dict[str, dict[str, Any]] = {
    "plain": {},
    "accumulation": {"accumulation": 3, "batch_size": 1},
    "in shares": {"sharding": "full", "kind": "llama"},
    "in shares, tied weights, accumulation, checkpointed": {
        "sharding": "full",
        "accumulation": 3,
        "batch_size": 1,
        "checkpointing": True,
    },
    "conversations": {"kind": "llama", "samples": "conversations"},
    "conversations in shares, accumulation": {
        "kind": "llama",
        "sharding": "full",
        "accumulation": 3,
        "batch_size": 1,
        "samples": "conversations",
    },
    "one runs out of memory": {"trouble": "out of memory"},
    "the loss of one is not a number": {"trouble": "not a number"},
    "segments": {"kind": "hrm_act_v1"},
    "segments in shares": {"kind": "hrm_act_v1", "sharding": "full"},
    "chunks": {"kind": "llama", "window": 8, "chunks": {"size": 12, "gradients": "exact", "recompute": True}},
    "chunks in shares, accumulation, checkpointed": {
        "kind": "llama",
        "sharding": "full",
        "accumulation": 3,
        "batch_size": 1,
        "checkpointing": True,
        "window": 8,
        "chunks": {"size": 12, "gradients": "exact"},
    },
    "segments in chunks in shares": {
        "kind": "hrm_act_v1",
        "sharding": "full",
        "chunks": {"size": 12, "gradients": "exact"},
    },
}
Result = tuple[list[list[float]], dict[str, torch.Tensor]]


@pytest.fixture(scope="module")
def two_processes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Result]:
    """The result of each case in two processes."""
    folder = tmp_path_factory.mktemp("two processes")
    cases = folder / "cases.json"
    cases.write_text(json.dumps(CASES), encoding="utf-8")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    command = [sys.executable, processes_at_work.__file__, str(cases), str(folder)]
    common = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "PYTHONPATH": str(ROOT)}
    started = [
        subprocess.Popen(
            command,
            env={**os.environ, **common, "RANK": rank, "LOCAL_RANK": rank},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in "01"
    ]
    said = [process.communicate() for process in started]
    assert [process.returncode for process in started] == [0, 0], said
    assert said[1][0] == "", "only the first process prints"
    lines = [json.loads(line) for line in said[0][0].splitlines()]
    return {
        line["name"]: (line["figures"], torch.load(folder / f"{line['name']}.pt", weights_only=True))
        for line in lines
    }


@pytest.mark.parametrize("name", CASES)
def test_two_processes_equal_one_with_twice_the_batch_size(
    two_processes: dict[str, Result], name: str
) -> None:
    figures, weights = two_processes[name]
    case = {"batch_size": 2, **CASES[name], "sharding": "none", "chunks": None}
    expected, alone = processes_at_work.train(ALONE, **{**case, "batch_size": 2 * case["batch_size"]})
    for found, wanted in zip(figures, expected, strict=True):
        assert found == pytest.approx(wanted, rel=1e-5, nan_ok=True)
    tokens = [step[2] for step in figures[:-1]]
    assert len(set(tokens)) > 1, "steps, and so the processes, differ in their valid tokens"
    assert weights.keys() == alone.keys()
    for key, tensor in alone.items():
        # Adam turns the rounding of a gradient near zero into a part of a step of 1e-2.
        torch.testing.assert_close(weights[key], tensor, rtol=1e-4, atol=3e-4)
