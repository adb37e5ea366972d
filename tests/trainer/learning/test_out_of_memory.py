"""A step that runs out of memory is retried with less and gives the same result: with injected errors and a real cap."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from typer.testing import Result

from trainer.data import Batch
from trainer.learning import out_of_memory
from trainer.learning.objective import NextToken, Part
from trainer.survival import memory_estimate

ROOT = Path(__file__).parents[3]
Settings = dict[str, dict[str, Any]]
WriteConfig = Callable[[Any], Path]
Call = Callable[..., Result]
Records = Callable[[Path], list[dict[str, Any]]]
Fits = Callable[
    [int, bool], bool
]  # whether this many sequences fit, with or without activation checkpointing


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Make memory run out after the loss of a batch was computed."""

    def make(fits: Fits, error: Exception | None = None) -> None:
        real = NextToken.parts
        running_out = error or torch.OutOfMemoryError(
            "CUDA out of memory. Tried to allocate 2.00 GiB.\nMore."
        )

        def parts(self: NextToken, batch: Batch) -> Iterator[Part]:
            yield from real(self, batch)
            checkpointed = any(
                getattr(part, "gradient_checkpointing", False) for part in self.model.modules()
            )
            if not fits(len(batch.tokens), checkpointed):
                raise running_out

        monkeypatch.setattr(NextToken, "parts", parts)
        monkeypatch.setattr(memory_estimate, "estimate", lambda *arguments: None)  # it takes such a step, too

    return make


@pytest.fixture
def run(
    settings: Settings, write_config: WriteConfig, call: Call, records: Records, tmp_path: Path
) -> Callable[..., tuple[Result, list[dict[str, Any]], dict[str, torch.Tensor]]]:
    """Train, and return the result, the records and the final weights."""

    def train(name: str, *arguments: object) -> tuple[Result, list[dict[str, Any]], dict[str, torch.Tensor]]:
        out = tmp_path / name
        result = call("train", "--config", write_config(settings), "--output-dir", out, *arguments)
        newest = (out / "checkpoints" / "latest").read_text().strip()
        weights = load_file(out / "checkpoints" / newest / "model.safetensors")
        return result, records(out / "metrics.jsonl"), weights

    return train


def trained(records: list[dict[str, Any]], field: str = "loss") -> list[float]:
    return [record[field] for record in records if record["event"] == "train"]


def oom(records: list[dict[str, Any]]) -> list[tuple[int, int | None, bool]]:
    found = [record for record in records if record["event"] == "oom"]
    return [(record["step"], record["sequences"], record["gradient_checkpointing"]) for record in found]


def test_a_step_in_micro_batches_gives_the_same_result(
    settings: Settings, machine: Callable[..., None], run: Any
) -> None:
    settings["training"] |= {"batch_size": 6, "gradient_accumulation_steps": 2}
    _, unhindered, expected = run("unhindered")
    machine(lambda sequences, checkpointed: sequences <= 2)
    result, found, weights = run("hindered")
    assert result.exit_code == 0, result.output
    assert oom(found) == [(1, 3, False), (1, 1, False)]
    assert "step 1 ran out of memory (CUDA out of memory. Tried to allocate 2.00 GiB.)" in result.stderr
    assert "Retrying it with micro-batches of 3" in result.stderr
    assert trained(found) == pytest.approx(trained(unhindered), rel=1e-5)
    assert trained(found, "grad_norm") == pytest.approx(trained(unhindered, "grad_norm"), rel=1e-4)
    assert trained(found, "tokens") == trained(unhindered, "tokens")
    for name, tensor in weights.items():
        torch.testing.assert_close(tensor, expected[name], rtol=0, atol=1e-5)


def test_a_retry_draws_the_same_random_numbers(
    settings: Settings, machine: Callable[..., None], run: Any
) -> None:
    dropout = dict.fromkeys(("resid_pdrop", "embd_pdrop", "attn_pdrop"), 0.2)
    settings["model"]["architecture"] |= dropout
    settings["training"]["batch_size"] = 4
    _, small, expected = run(
        "small", "--batch-size", 2, "--gradient-accumulation-steps", 2, "--eval-batches", 100
    )
    machine(lambda sequences, checkpointed: sequences <= 2)
    _, found, weights = run("hindered")
    assert oom(found) == [(1, 2, False)]
    assert trained(found) == trained(small)
    assert all(torch.equal(tensor, expected[name]) for name, tensor in weights.items())


def test_gradient_checkpointing_is_the_fallback_when_batches_cannot_get_smaller(
    settings: Settings, machine: Callable[..., None], run: Any
) -> None:
    _, unhindered, _ = run("unhindered")
    machine(lambda sequences, checkpointed: checkpointed)
    result, found, _ = run("hindered")
    assert oom(found) == [(1, 1, False), (1, 1, True)]
    assert "micro-batches of 1 and gradient checkpointing" in result.stderr
    assert trained(found) == pytest.approx(trained(unhindered), rel=1e-5)


def test_memory_settings_are_kept_when_a_run_is_resumed_and_reset_with_another_batch_size(
    settings: Settings, machine: Callable[..., None], run: Any
) -> None:
    settings["training"] |= {"batch_size": 4, "checkpoint_every": 3}
    machine(lambda sequences, checkpointed: checkpointed)
    _, whole, _ = run("whole", "--steps", 9)
    run("out", "--steps", 3)
    result, found, _ = run("out", "--steps", 9, "--resume")
    assert (
        "ran out of memory before the checkpoint: continuing with micro-batches of 1 and gradient checkpointing"
        in result.stderr
    )
    assert {step for step, *_ in oom(found)} == {1}
    assert trained(found)[3:] != trained(whole)[3:], "another schedule"
    _, found, _ = run("out", "--steps", 11, "--resume", "--batch-size", 8)
    assert oom(found)[3:] == [(10, 4, False), (10, 2, False), (10, 1, False), (10, 1, True)]


def test_running_out_of_memory_in_a_later_step_does_not_change_earlier_ones(
    settings: Settings, machine: Callable[..., None], run: Any
) -> None:
    settings["training"]["batch_size"] = 4
    _, unhindered, _ = run("unhindered")
    calls = iter(range(99))
    machine(lambda sequences, checkpointed: next(calls) != 3)
    _, found, _ = run("hindered")
    assert oom(found) == [(4, 2, False)]
    assert trained(found)[:3] == trained(unhindered)[:3]
    assert trained(found) == pytest.approx(trained(unhindered), rel=1e-5)


def test_when_every_fallback_failed_the_run_ends_with_a_checkpoint_and_lists_them(
    settings: Settings, machine: Callable[..., None], run: Any, tmp_path: Path
) -> None:
    calls = iter(range(99))
    machine(lambda sequences, checkpointed: next(calls) < 4)
    result, found, _ = run("out")
    assert result.exit_code == 1
    words = "every fallback failed: whole batches; micro-batches of 1; micro-batches of 1 and gradient checkpointing"
    assert words in " ".join(result.stderr.split())
    assert "LoRA" in result.stderr
    assert found[-1]["event"] == "stopped"
    assert (tmp_path / "out" / "checkpoints" / "latest").read_text() == "step-00000004\n"


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError(
            "[enforce fail at alloc_cpu.cpp:124] err == 0. DefaultCPUAllocator: can't allocate memory"
        ),
        RuntimeError(
            "[enforce fail at alloc_cpu.cpp:81] data. DefaultCPUAllocator: not enough memory: you tried"
        ),
        RuntimeError("CUDA error: out of memory"),
    ],
    ids=["python", "linux", "windows", "driver"],
)
def test_the_error_of_every_allocator_is_recognized(
    machine: Callable[..., None], run: Any, error: Exception
) -> None:
    machine(lambda sequences, checkpointed: sequences == 1, error)
    result, found, _ = run("out")
    assert result.exit_code == 0, result.output
    assert oom(found) == [(1, 1, False)]


def test_other_errors_are_not_retried(machine: Callable[..., None], run: Any) -> None:
    assert not out_of_memory.is_out_of_memory(RuntimeError("shapes cannot be multiplied"))
    assert not out_of_memory.is_out_of_memory(ValueError("DefaultCPUAllocator"))
    machine(lambda sequences, checkpointed: False, RuntimeError("shapes cannot be multiplied"))
    with pytest.raises(FileNotFoundError):  # no checkpoint: it ended at its first step
        run("out")


def test_running_out_of_memory_in_the_optimizer_is_explained(
    settings: Settings, write_config: WriteConfig, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    def step(*arguments: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr(torch.optim.AdamW, "step", step)
    result = call("train", "--config", write_config(settings))
    assert result.exit_code == 1
    assert "Out of memory in the optimizer's update" in result.stderr


CAPPED = """
import resource, sys
import torch, transformers
torch.set_num_threads(1)
import trainer.run
import aios
now = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
limit = now + int(sys.argv.pop(1))
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
aios.main()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="caps the address space as Linux does")
def test_a_run_continues_in_micro_batches_under_a_real_memory_cap(
    settings: Settings, write_config: WriteConfig, records: Records, run: Any, tmp_path: Path
) -> None:
    settings["data"] |= {"max_length": 64, "eval_fraction": 0}
    settings["training"] |= {"batch_size": 128, "steps": 2}
    _, unhindered, _ = run("unhindered")
    arguments = ["train", "--config", str(write_config(settings)), "--output-dir", str(tmp_path / "capped")]
    done = subprocess.run(
        [sys.executable, "-c", CAPPED, str(40 << 20), *arguments],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    capped = records(tmp_path / "capped" / "metrics.jsonl")
    assert oom(capped)
    assert trained(capped) == pytest.approx(trained(unhindered), rel=1e-5)
