"""A run reads its data set: by epochs, chunk by chunk, stopped and resumed."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import Result

Settings = dict[str, dict[str, Any]]
WriteConfig = Callable[[Any], Path]
Call = Callable[..., Result]
Records = Callable[[Path], list[dict[str, Any]]]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A data set of two files, 40 documents of 20 to 59 bytes: 1580 bytes, 1620 tokens."""
    path = tmp_path / "data"
    path.mkdir()
    documents = [chr(97 + n % 26) * (20 + n) for n in range(40)]
    lines = "".join(json.dumps({"text": text}) + "\n" for text in documents[:25])
    (path / "a.jsonl").write_text(lines, encoding="utf-8")
    (path / "b.txt").write_text("\n<|endoftext|>\n".join(documents[25:]), encoding="utf-8")
    return path


@pytest.fixture
def settings(settings: Settings, folder: Path, tmp_path: Path) -> Settings:
    settings["data"] |= {"dataset_file": str(folder), "eval_fraction": 0, "dataset_chunk_size": 7}
    settings["data"]["cache_dir"] = str(tmp_path / "cache")
    settings["training"] |= {"steps": 200, "batch_size": 4}
    return settings


def trained(records: list[dict[str, Any]], *fields: str) -> list[tuple[Any, ...]]:
    return [tuple(r[name] for name in fields) for r in records if r["event"] == "train"]


@pytest.mark.parametrize("packing", [True, False])
def test_a_run_can_stop_after_one_epoch(
    settings: Settings,
    write_config: WriteConfig,
    call: Call,
    records: Records,
    tmp_path: Path,
    packing: bool,
) -> None:
    settings["data"] |= {"stop_after_epoch": True, "packing": packing}
    result = call("train", "--config", write_config(settings))
    assert result.exit_code == 0, result.output
    found = records(tmp_path / "out" / "metrics.jsonl")
    assert sum(tokens for (tokens,) in trained(found, "tokens")) == 1580
    assert (found[-1]["event"], found[-1]["completed"]) == ("run_end", True)
    steps = found[-1]["step"]

    assert call("train", "--config", write_config(settings), "--resume").exit_code == 0
    assert records(tmp_path / "out" / "metrics.jsonl")[-1]["step"] == steps
    more = ("--no-stop-after-epoch", "--steps", steps + 2)
    assert call("train", "--config", write_config(settings), "--resume", *more).exit_code == 0
    assert records(tmp_path / "out" / "metrics.jsonl")[-1]["step"] == steps + 2


def test_iterate_continues_past_the_last_step_at_the_last_learning_rate(
    settings: Settings, write_config: WriteConfig, call: Call, records: Records, tmp_path: Path
) -> None:
    settings["training"]["steps"] = 3
    result = call("train", "--config", write_config(settings), "--iterate", "--stop-after-epoch")
    assert result.exit_code == 0, result.output
    rates = trained(records(tmp_path / "out" / "metrics.jsonl"), "step", "lr")
    assert [step for step, _ in rates] == list(range(1, 14))  # 51 samples
    assert rates[0][1] > rates[1][1] > rates[2][1] == rates[12][1]


@pytest.mark.parametrize("how", [(), ("--linear-dataset", "--dataset-start-offset", 5), ("--no-packing",)])
def test_losses_are_bit_equal_when_resumed_at_any_step(
    settings: Settings,
    write_config: WriteConfig,
    call: Call,
    records: Records,
    tmp_path: Path,
    how: tuple[object, ...],
) -> None:
    settings["training"] |= {"steps": 30, "checkpoint_every": 7, "keep_checkpoints": 9}
    config = write_config(settings)
    assert call("train", "--config", config, *how).exit_code == 0
    log = tmp_path / "out" / "metrics.jsonl"
    whole = trained(records(log), "step", "loss", "tokens")
    assert len(whole) == 30  # more than two epochs
    for step in (30, 28, 21, 14):
        (tmp_path / "out" / "checkpoints" / f"step-{step:08d}" / "state.json").write_text("damaged")
    assert call("train", "--config", config, *how, "--resume").exit_code == 0
    assert records(log)[-1]["step"] == 30
    assert trained(records(log), "step", "loss", "tokens") == whole


def test_the_order_of_the_data_changes_the_losses(
    settings: Settings, write_config: WriteConfig, call: Call, records: Records, tmp_path: Path
) -> None:
    settings["training"]["steps"] = 3
    curves = []
    ways: tuple[list[Any], ...] = (
        [],
        ["--linear-dataset"],
        ["--dataset-start-offset", 8],
        ["--dataset-chunk-size", 51],
        ["--no-packing"],
    )
    for number, way in enumerate(ways):
        out = tmp_path / str(number)
        assert call("train", "--config", write_config(settings), "--output-dir", out, *way).exit_code == 0
        curves.append(trained(records(out / "metrics.jsonl"), "loss"))
    assert len({str(curve) for curve in curves}) == len(ways)


def test_a_data_set_that_changed_since_the_checkpoint_is_reported(
    settings: Settings, write_config: WriteConfig, call: Call, folder: Path
) -> None:
    settings["training"]["steps"] = 3
    config = write_config(settings)
    assert call("train", "--config", config).exit_code == 0
    result = call("train", "--config", config, "--resume", "--steps", 4)
    assert "the data set has changed" not in result.stderr
    (folder / "b.txt").write_text("something else, and of another length", encoding="utf-8")
    result = call("train", "--config", config, "--resume", "--steps", 5)
    assert result.exit_code == 0, result.output
    assert "WARNING: the data set has changed since the checkpoint (was {'training_tokens': " in result.stderr
