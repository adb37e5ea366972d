"""The usual windows and chunks by length and memory, and the settings `auto`, in a configuration and in a run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import Result

from trainer.config import TrainConfig, load
from trainer.config.recommended import GIB, recommended, resolve, rows
from trainer.errors import UserError

Settings = dict[str, dict[str, Any]]


@pytest.mark.parametrize(
    ("context", "memory", "expected"),
    [
        (4096, 24, "no window, no chunks"),
        (12_000, 24, "a window of 2048 to 4096, no chunks"),
        (12_000, 12, "a window of 2048 to 4096, chunks of 4096 if memory is short"),
        (20_000, 24, "a window of 1024 to 2048, chunks of 4096"),
        (50_000, 24, "a window of 512 to 1024, chunks of 2048"),
        (50_000, 12, "a window of 512 to 1024, chunks of 1024"),
        (80_000, 24, "a window of 256 to 512, chunks of 512 to 1024"),
        (200_000, 24, "a window of 256, chunks of 256 to 512, --cpu-offload"),
        (200_000, 4, "a window of 256, chunks of 128, --cpu-offload"),
    ],
)
def test_the_usual_settings_without_a_measurement(context: int, memory: float, expected: str) -> None:
    assert str(recommended(context, memory)) == expected
    assert recommended(context, memory) in [*rows(memory)]


def auto(length: int, **training: Any) -> TrainConfig:
    values = {"model": {"window_size": "auto"}, "data": {"max_length": length}}
    return TrainConfig.model_validate(values | {"training": {"chunk_size": "auto", **training}})


@pytest.mark.parametrize(
    ("length", "gib", "window", "chunk"),
    [
        (2048, 24, None, None),
        (12_000, 24, 4096, None),
        (12_000, 12, 4096, 4096),
        (50_000, 24, 1024, 2048),
        (50_000, 12, 1024, 1024),
        (200_000, 24, 256, 512),
    ],
)
def test_auto_takes_the_usual_settings(length: int, gib: int, window: int | None, chunk: int | None) -> None:
    found, notes = resolve(auto(length), gib * GIB)
    assert found.model.window == window
    assert (found.training.chunk_tokens if found.training.use_chunked_training else None) == chunk
    assert len(notes) == 2
    assert ("whole sequences" in notes[1]) == (chunk is None)
    assert str(window or "own windows") in notes[0]


def test_a_preference_loss_keeps_whole_sequences() -> None:
    found, notes = resolve(auto(50_000, loss="orpo"), 24 * GIB)
    assert not found.training.use_chunked_training
    assert "which training.loss = orpo needs" in notes[1]


def test_numbers_are_left_alone() -> None:
    config = TrainConfig.model_validate({"model": {"window_size": 8}, "training": {"chunk_size": 100}})
    assert resolve(config, GIB) == (config, [])


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("window_size", "wide", "model.window_size = 'wide': Input should be a valid integer"),
        ("window_size", "-1", "model.window_size = '-1': Input should be greater than or equal to 0"),
        ("chunk_size", "0", "training.chunk_size = '0': Input should be greater than or equal to 1"),
    ],
)
def test_other_words_are_refused_once(key: str, value: str, words: str) -> None:
    with pytest.raises(UserError) as refused:
        load(None, {key: value}, needs_data=False)
    lines = str(refused.value).splitlines()
    assert len(lines) == 2, lines
    assert words in lines[1]
    assert "auto" in lines[1]


def test_a_run_says_what_auto_means(
    settings: Settings,
    write_config: Callable[[Any], Path],
    call: Callable[..., Result],
    records: Callable[[Path], list[dict[str, Any]]],
    tmp_path: Path,
) -> None:
    options = ("--window-size", "auto", "--chunk-size", "auto")
    result = call("train", "--config", write_config(settings), *options)
    assert result.exit_code == 0, result.output
    assert "model.window_size = auto: the model's own windows" in result.stderr
    assert "training.chunk_size = auto: whole sequences" in result.stderr
    start, *_ = records(tmp_path / "out" / "metrics.jsonl")
    assert start["config"]["model"]["window_size"] is None
    assert start["config"]["training"]["chunk_size"] == settings["data"]["max_length"]
