"""Runs in chunks, from the command line: records, resume, evaluation, and settings without effect."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import Result

from trainer import chunking
from trainer.config import TrainConfig
from trainer.errors import UserError
from trainer.hrm.configuration import HRMConfig

Settings = dict[str, dict[str, Any]]
WriteConfig = Callable[[Any], Path]
Call = Callable[..., Result]
Records = Callable[[Path], list[dict[str, Any]]]
CHUNKS = ("--use-chunked-training", "--chunk-size", "12", "--window-size", "8")
CPU = torch.device("cpu")


def train_records(found: list[dict[str, Any]], *fields: str) -> list[list[Any]]:
    return [[record[field] for field in fields] for record in found if record["event"] == "train"]


def test_a_run_in_exact_chunks_resumes_bit_equal(
    settings: Settings, write_config: WriteConfig, call: Call, records: Records, tmp_path: Path
) -> None:
    settings["model"]["architecture"] |= dict.fromkeys(("resid_pdrop", "embd_pdrop", "attn_pdrop"), 0.1)
    settings["training"] |= {"checkpoint_every": 3}
    command = (
        "train",
        "--config",
        write_config(settings),
        *CHUNKS,
        "--chunk-gradients",
        "exact",
        "--recompute-carries",
    )
    assert call(*command).exit_code == 0
    log, checkpoints = tmp_path / "out" / "metrics.jsonl", tmp_path / "out" / "checkpoints"
    whole = train_records(records(log), "step", "loss", "grad_norm", "chunk_size")
    assert [chunk for *_, chunk in whole] == [12] * 6

    newest = (checkpoints / "latest").read_text(encoding="utf-8").strip()
    shutil.rmtree(checkpoints / newest)
    result = call(*command, "--resume")
    assert result.exit_code == 0, result.output
    again = train_records(records(log), "step", "loss", "grad_norm", "chunk_size")
    assert again[-3:] == whole[3:]


def test_chunks_train_like_whole_sequences(
    settings: Settings, write_config: WriteConfig, call: Call, records: Records, tmp_path: Path
) -> None:
    curves = []
    for name, options in (("whole", CHUNKS[3:]), ("chunks", (*CHUNKS, "--chunk-gradients", "exact"))):
        out = tmp_path / name
        result = call("train", "--config", write_config(settings), "--output-dir", out, *options)
        assert result.exit_code == 0, result.output
        curves.append([record["loss"] for record in records(out / "metrics.jsonl") if "loss" in record])
    assert curves[1] == pytest.approx(curves[0], rel=1e-5)
    assert len(curves[0]) == 7  # six steps and the evaluation


def test_the_command_for_hrm_takes_chunks(
    call: Call, text_file: Path, tmp_path: Path, records: Records
) -> None:
    sizes = ("--hidden-size", 16, "--num-heads", 2, "--h-layers", 1, "--l-layers", 1)
    common = (
        "--tokenizer",
        "byte",
        "--dataset-file",
        text_file,
        "--steps",
        1,
        "--batch-size",
        1,
        "--max-seq-len",
        32,
    )
    out = tmp_path / "hrm"
    result = call(
        "hrm-hf",
        "train-actv1",
        *common,
        *sizes,
        *CHUNKS,
        "--save-dir",
        out,
        "--cpu-offload",
        "--device",
        "cpu",
    )
    assert result.exit_code == 0, result.output
    assert "training.cpu_offload has no effect on a CPU" in result.stderr
    assert train_records(records(out / "metrics.jsonl"), "chunk_size", "window_size") == [[12, 8]]


@pytest.mark.parametrize(
    ("training", "windows", "warned"),
    [
        ({}, (None,), []),
        ({"chunk_size": 2048}, (None,), []),
        ({"chunk_size": 512}, (None,), ["training.chunk_size has no effect without"]),
        ({"cpu_offload": True}, (None,), ["training.cpu_offload has no effect without"]),
        ({"use_chunked_training": True}, (None,), ["is one chunk of training.chunk_size = 2048"]),
        ({"use_chunked_training": True, "chunk_size": 100}, (None,), []),
        (
            {"use_chunked_training": True, "chunk_size": 100, "carry_tokens": 64},
            (None,),
            ["cuts the context"],
        ),
        ({"use_chunked_training": True, "chunk_size": 100, "carry_tokens": 64}, (32,), []),
        ({"use_chunked_training": True, "chunk_size": 100, "carry_tokens": 924}, (None,), []),
        (
            {"use_chunked_training": True, "chunk_size": 100, "recompute_carries": True},
            (8,),
            ["recompute_carries has no effect with training.chunk_gradients = truncated"],
        ),
    ],
)
def test_what_has_no_effect_is_said(training: dict[str, Any], windows: Any, warned: list[str]) -> None:
    config = TrainConfig.model_validate({"training": training, "data": {"max_length": 1024}})
    found = [*chunking.warnings(config, windows, CPU)]
    assert len(found) == len(warned)
    assert all(text in warning for text, warning in zip(warned, found, strict=True))


def test_frequencies_that_depend_on_the_length_are_refused() -> None:
    from transformers import LlamaConfig

    rope = {
        "rope_type": "longrope",
        "rope_theta": 1e4,
        "factor": 4.0,
        "original_max_position_embeddings": 512,
    }
    rope |= {"short_factor": [1.0] * 8, "long_factor": [2.0] * 8}
    stretched = LlamaConfig(
        hidden_size=64, num_attention_heads=4, max_position_embeddings=2048, rope_parameters=rope
    )
    training = {"use_chunked_training": True, "chunk_size": 100}
    for length, refused in ((512, False), (1024, True)):
        config = TrainConfig.model_validate({"training": training, "data": {"max_length": length}})
        chunking.check_positions(config, HRMConfig())
        if refused:
            with pytest.raises(UserError, match="depends on the length"):
                chunking.check_positions(config, stretched)
        else:
            chunking.check_positions(config, stretched)
