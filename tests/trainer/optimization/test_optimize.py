"""`aios optimize`: candidates, the race, the session's files. Training is a stand-in, except in the last test."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import Result

from trainer.config import TrainConfig, load
from trainer.optimization import measurement
from trainer.optimization.candidates import Candidate, Choices, candidates
from trainer.optimization.measurement import Measured
from trainer.optimization.race import fits, race, ranked
from trainer.optimization.session import Session

Call = Callable[..., Result]
FAKE = Path(__file__).with_name("fake_training.py")


def config(**training: Any) -> TrainConfig:
    values = {"batch_size": 16, **training}
    return TrainConfig.model_validate({"training": values, "data": {"max_length": 4096}})


def one(size: int = 1, **changes: Any) -> Candidate:
    return replace(Candidate(size, 16 // size, None, None, "auto", False), **changes)


def ran(candidate: Candidate, seconds: float, memory: int = 10, **changes: Any) -> Measured:
    return replace(Measured(candidate, (seconds,) * 3, 100, memory, 100, "sdpa"), **changes)


@pytest.fixture
def optimized(
    call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., tuple[Result, Any]]:
    """Run the command with the stand-in; returns its result and the newest results file, if there is one."""
    monkeypatch.setattr(measurement, "COMMAND", (sys.executable, "-X", "utf8", str(FAKE)))
    base = {
        "model": {"architecture": {"model_type": "gpt2"}, "tokenizer": "byte"},
        "training": {"batch_size": 16},
    }
    base["data"] = {"dataset_file": "text.txt", "max_length": 64}
    file = tmp_path / "base.yaml"
    file.write_text(yaml.safe_dump(base), encoding="utf-8")

    def run(*options: object) -> tuple[Result, Any]:
        result = call(
            "optimize", "--config", file, "--output-dir", tmp_path / "out", "--test-duration", 5, *options
        )
        newest = sorted((tmp_path / "out").glob("results_*.json"))
        return result, json.loads(newest[-1].read_text(encoding="utf-8")) if newest else None

    return run


def test_candidates_keep_the_samples_of_a_step() -> None:
    found = candidates(config(), Choices(batch_sizes=(1, 3, 8)), search=False)
    assert [(each.batch_size, each.accumulation) for each in found] == [(8, 2), (1, 16)]
    searched = candidates(config(), Choices(), search=True)
    assert {each.batch_size * each.accumulation for each in searched} == {16}
    assert {each.chunk_size for each in searched} == {None, 512, 1024, 2048}
    assert {each.window_size for each in searched} == {None}, "no window is tried unasked"
    assert len(searched) == len({*searched}) == 5 * 4 * 2
    assert searched[0] == one(16)


def test_chunks_keep_the_gradients_of_the_configuration() -> None:
    chunked = config(use_chunked_training=True, chunk_size=512)
    [found] = candidates(chunked, Choices(), search=False)
    assert found.overrides()["chunk_gradients"] == "truncated"
    assert (
        candidates(config(), Choices(chunk_sizes=(512,)), False)[0].overrides()["chunk_gradients"] == "exact"
    )


def test_nothing_is_recommended_that_failed_or_leaves_no_reserve() -> None:
    found = [
        ran(one(16), 1.0, error="out of memory", oom=True),
        ran(one(8), 2.0, memory=95),
        ran(one(4), 3.0, memory=101),
        ran(one(2), 5.0),
        ran(one(1), 4.0, memory=92),
    ]
    results = ranked(found, reserve=0.08)
    assert results[0].measured.candidate == one(1) and results[0].lost is None
    lost = {each.measured.candidate.batch_size: str(each.lost) for each in results[1:]}
    assert "out of memory" in lost[16] and "95% of the memory" in lost[8] and "spills" in lost[4]
    assert lost[2] == "20% slower"
    assert all(each.lost for each in ranked(found[:3], reserve=0.08))
    assert ranked([], 0.08) == []


def test_a_race_stops_the_slow_and_skips_what_cannot_fit() -> None:
    speeds = {one(4): 1.0, one(2): 1.3, one(1): 1.15}
    steps: dict[Candidate, int] = {}

    def measure(candidate: Candidate, give_up: Callable[[Measured], bool]) -> Measured:
        if candidate == one(8):
            return Measured(candidate, oom=True, error="out of memory")
        for count in range(1, 6):
            steps[candidate] = count
            found = replace(ran(candidate, speeds[candidate]), seconds=(speeds[candidate],) * count)
            if give_up(found):
                return replace(found, given_up=True)
        return found

    order = [one(8), one(16), one(4), one(2), one(1)]
    found = race(order, measure, [], True, 0.08, lambda measured: None)
    assert steps == {one(4): 5, one(2): 1, one(1): 2}
    assert "not run: needs more memory than batch 8" in str(found[1].error)
    results = ranked(found, 0.08)
    assert results[0].measured.candidate == one(4)
    assert not any(fits(each, 0.08) for each in found if each.given_up)
    # What an earlier session measured is not measured again.
    again = race(order, lambda *_: pytest.fail("measured again"), found, True, 0.08, lambda measured: None)
    assert again == found


@pytest.mark.parametrize(
    ("more", "less"),
    [
        (one(4), one(2)),
        (one(2), one(2, gradient_checkpointing=True)),
        (one(2), one(2, chunk_size=512)),
        (one(2, chunk_size=1024), one(2, chunk_size=512)),
    ],
)
def test_which_candidate_needs_more_memory(more: Candidate, less: Candidate) -> None:
    assert more.needs_more_memory_than(less)
    assert not less.needs_more_memory_than(more)
    assert not more.needs_more_memory_than(replace(less, window_size=8))


def test_the_search_finds_the_best_of_the_grid(
    optimized: Callable[..., tuple[Result, Any]], tmp_path: Path
) -> None:
    result, document = optimized("--search")
    assert result.exit_code == 0, result.output
    # By the stand-in: larger batches are faster, 16 is killed or refused, and 8 fits with 800 of 1000 bytes.
    assert document["training"]["optimal_batch"] == 8
    rows = {
        (row["batch_size"], row["gradient_checkpointing"]): row for row in document["training"]["results"]
    }
    assert rows[16, False]["oom"] and not rows[16, False]["success"]
    assert rows[1, False]["lost"].endswith("slower (stopped early)")
    assert rows[8, False]["median_step_seconds"] == 18.0  # without the first step, of 99 seconds
    assert document["recommendation"]["gradient_accumulation_steps"] == 2
    [file] = (tmp_path / "out").glob("recommended_*.yaml")
    chosen = load(file, {})
    assert (chosen.training.batch_size, chosen.training.gradient_accumulation_steps) == (8, 2)
    assert chosen.data.max_length == 64
    assert "recommended" in result.stdout and str(file) in result.stdout


def test_a_candidate_that_is_killed_costs_only_itself(optimized: Callable[..., tuple[Result, Any]]) -> None:
    _, document = optimized("--batch-sizes", "16,4")
    killed, worked = document["training"]["results"][1], document["training"]["results"][0]
    assert (killed["batch_size"], killed["success"], worked["success"]) == (16, False, True)
    assert killed["oom"] == (sys.platform != "win32")


def test_an_interrupted_session_continues(
    optimized: Callable[..., tuple[Result, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    optimized("--batch-sizes", "8,4")
    [results] = (tmp_path / "out").glob("results_*.json")
    first = json.loads(results.read_text(encoding="utf-8"))
    results.unlink()  # as if it had been interrupted
    monkeypatch.setattr(measurement, "COMMAND", ("no-such-program",))
    result, document = optimized("--batch-sizes", "8,4", "--resume")
    assert result.exit_code == 0, result.output
    assert "2 of them measured before" in result.stderr
    assert document["training"] == first["training"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--batch-sizes", "two"], "expected whole numbers"),
        (["--batch-sizes", "0"], "must be positive"),
        (["--batch-sizes", "3"], "No candidate is left"),
        (["--recommend-only"], "needs --vram"),
    ],
)
def test_wrong_options_are_explained(
    optimized: Callable[..., tuple[Result, Any]], options: list[str], words: str
) -> None:
    result, _ = optimized(*options)
    assert result.exit_code == 2
    assert words in result.stderr


def test_the_usual_settings_for_one_length_or_all(call: Call) -> None:
    single = call("optimize", "--recommend-only", "--context", 50_000, "--vram", 24)
    assert "50,000 tokens on 24 GiB: a window of 512 to 1024, chunks of 2048" in single.stdout
    table = call("optimize", "--recommend-only", "--vram", 12).stdout.splitlines()
    assert len(table) == 7
    assert table[1].split() == ["from", "0", "tokens:", "no", "window,", "no", "chunks"]
    assert "from 100,000 tokens: a window of 256, chunks of 128 to 256, --cpu-offload" in table[-1]


def test_the_search_takes_auto_from_the_usual_settings(
    optimized: Callable[..., tuple[Result, Any]],
) -> None:
    result, document = optimized("--batch-sizes", "4", "--window-size", "auto", "--chunk-size", "auto")
    assert "training.chunk_size = auto: whole sequences" in result.stderr
    assert document["config"]["base"]["training"]["chunk_size"] == 64


def test_the_recommended_file_trains(call: Call, text_file: Path, tmp_path: Path) -> None:
    sizes = json.dumps({"model_type": "gpt2", "n_layer": 1, "n_head": 1, "n_embd": 8, "n_positions": 32})
    common = ("--architecture", sizes, "--tokenizer", "byte", "--dataset-file", text_file, "--max-length", 16)
    out = tmp_path / "out"
    result = call("optimize", *common, "--batch-sizes", "2", "--test-duration", 0.1, "--output-dir", out)
    assert result.exit_code == 0, result.output
    [file] = out.glob("recommended_*.yaml")
    done = call("train", "--config", file, "--steps", 1, "--output-dir", tmp_path / "run")
    assert done.exit_code == 0, done.output


def test_only_the_files_of_old_sessions_are_deleted(tmp_path: Path) -> None:
    mine = [
        "notes_20260101-000000.txt",
        "gpu_metrics_mine.jsonl",
        "results_mine.json",
        "x_20260101-000000.json",
    ]
    numbers = [f"2026010{day}-000000" for day in range(1, 6)]
    old = [f"{name}" for number in numbers for name in (f"gpu_metrics_{number}.jsonl", f"plot_{number}.png")]
    for name in (*mine, *old):
        (tmp_path / name).write_text("{}\n", encoding="utf-8")
    session = Session(tmp_path, {}, resume=False)
    session.finish([], {})
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {*mine, *old[6:], session.measurements.name, session.results.name}
