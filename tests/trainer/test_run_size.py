"""What is shown before the first step: how much a run reads, how often, and what it trains."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import Result

from trainer import data
from trainer.config import TrainConfig
from trainer.device import choose_precision
from trainer.models.tokenizer import ByteTokenizer
from trainer.records.progress import duration
from trainer.run_size import RunSize, counted, run_size, size

Call = Callable[..., Result]
Settings = dict[str, dict[str, Any]]


def test_every_figure_is_counted_by_hand() -> None:
    text = b"<|endoftext|>".join(
        [b"x" * 99, b"y" * 49, b"z" * 51]
    )  # and an end-of-text token each: 202 tokens
    stream = data.stream_of(text, ByteTokenizer(), 10)
    network = torch.nn.Linear(3, 2, bias=True)
    network.weight.requires_grad_(False)
    config = TrainConfig.model_validate(
        {
            "data": {"max_length": 10},
            "training": {"steps": 70, "batch_size": 2, "gradient_accumulation_steps": 3},
        }
    )
    found = run_size(config, data.Dataset(stream, None, 0.0, 0.0), network, processes=2)
    assert (found.documents, found.text_bytes, found.tokens, found.sequences) == (3, 199, 202, 21)
    assert (found.tokens_per_step, found.sequences_per_step) == (120, 12)
    assert found.passes == 70 * 12 / 21 == 40
    assert (found.parameters, found.trainable) == (8, 2)
    assert [*found.lines()] == [
        "INFO: data: 3 documents, 199 bytes of text, 202 tokens in 21 sequences of 10",
        "INFO: run: 70 steps of 120 tokens (12 sequences), 8.4K tokens in all: 40 passes over the text",
        "INFO: model: 2 of 8 parameters trained (25.0%)",
    ]


SIZE = RunSize(
    documents=1,
    text_bytes=2_000_000,
    tokens=1_000_000,
    held_out_tokens=5_000,
    sequences=100,
    length=10_000,
    tokens_per_step=40_000,
    steps=125,
    one_pass=False,
    parameters=7,
    trainable=7,
)


@pytest.mark.parametrize(
    ("changes", "warns"),
    [
        ({}, False),  # 5 passes
        ({"steps": 126}, True),
        ({"steps": 1000, "one_pass": True}, False),
        ({"steps": None}, False),
    ],
)
def test_more_than_five_passes_over_a_text_are_warned_about(changes: dict[str, Any], warns: bool) -> None:
    warning = replace(SIZE, **changes).warning()
    assert (warning is not None) == warns
    assert warning is None or "at most --steps 125" in warning


def test_figures_are_written_as_a_person_writes_them() -> None:
    assert (counted(1, "document"), counted(2000, "document")) == ("1 document", "2,000 documents")
    assert (size(999), size(685_000), size(3_000_000_000)) == ("999 bytes", "685 KB", "3 GB")
    assert [duration(seconds) for seconds in (40, 150, 9000, 200_000)] == [
        "40 s",
        "2 min",
        "2.5 h",
        "2.3 days",
    ]


def test_a_dry_run_shows_the_run_and_leaves_nothing(
    settings: Settings, write_config: Callable[[Any], Path], call: Call, tmp_path: Path
) -> None:
    settings["training"]["steps"] = 10_000
    result = call("train", "--config", write_config(settings), "--dry-run")
    assert result.exit_code == 0, result.output
    shown = " ".join(result.stderr.split())
    assert "INFO: data: 1 document," in shown and "of 32" in shown
    assert "WARNING: the run reads its text" in shown
    assert "Dry run: nothing was trained." in result.stdout
    assert not (tmp_path / "out").exists()
    strict = call("train", "--config", tmp_path / "config.yaml", "--dry-run", "--strict")
    assert strict.exit_code == 2
    assert "--strict: the warnings above are errors." in strict.stderr


def test_a_complete_run_says_so(settings: Settings, write_config: Callable[[Any], Path], call: Call) -> None:
    settings["training"]["steps"] = 1
    settings["training"]["eval_batches"] = 1
    assert call("train", "--config", write_config(settings)).exit_code == 0
    again = call("train", "--config", write_config(settings), "--resume")
    assert again.exit_code == 0, again.output
    assert "This run is complete: step 1 of 1. To train further, give more --steps." in again.stdout


def test_auto_precision_is_float32_on_a_cpu() -> None:
    cpu = torch.device("cpu")
    assert choose_precision(cpu, "auto") == choose_precision(cpu, False)
    assert choose_precision(cpu, True).dtype == torch.bfloat16
    assert TrainConfig().training.amp == "auto"
