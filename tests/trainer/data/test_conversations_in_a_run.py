"""A run on conversations: the loss is that of answers, a resumed run is bit-equal, and checkpoints have the chat template."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from typer.testing import Result

from trainer import data
from trainer.config import DataSection
from trainer.data import IGNORED
from trainer.data.best_fit_packing import WholeRows
from trainer.models import chat_template, model, tokenizer
from trainer.models.tokenizer import ByteTokenizer
from trainer.survival import checkpoint

Settings = dict[str, dict[str, Any]]
Call = Callable[..., Result]


@pytest.fixture
def settings(settings: Settings, tmp_path: Path) -> Settings:
    path = tmp_path / "chats.jsonl"
    talks = [
        [("user", f"{n}?"), ("assistant", "ab" * (n % 5 + 1)), ("user", "?"), ("assistant", "c")]
        for n in range(24)
    ]
    records = [{"messages": [{"role": role, "content": text} for role, text in talk]} for talk in talks]
    path.write_text("\n".join(map(json.dumps, records)), encoding="utf-8")
    settings["model"]["architecture"] |= {"n_positions": 256, "n_layer": 1}
    settings["data"] |= {"dataset_file": str(path), "max_length": 256, "eval_fraction": 0.2}
    return settings


def trained(path: Path, *names: str) -> list[list[Any]]:
    records = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return [
        [record["step"], *(record[name] for name in names)]
        for record in records
        if record["event"] == "train"
    ]


def test_a_resumed_run_on_conversations_is_bit_equal(
    settings: Settings, write_config: Callable[[Any], Path], call: Call, tmp_path: Path
) -> None:
    settings["training"] |= {"checkpoint_every": 3}
    config, log = write_config(settings), tmp_path / "out" / "metrics.jsonl"
    assert call("train", "--config", config).exit_code == 0
    whole = trained(log, "loss", "grad_norm", "tokens")
    last = checkpoint.find(tmp_path / "out", print)
    (last / "state.json").write_text("damaged")
    assert call("train", "--config", config, "--resume").exit_code == 0
    assert trained(log, "loss", "grad_norm", "tokens") == whole
    starts = [
        json.loads(line) for line in log.read_text(encoding="utf-8").splitlines() if '"run_start"' in line
    ]
    assert [start["resumed_from"] for start in starts] == [None, 3]

    saved = tokenizer.load(None, checkpoint.find(tmp_path / "out", print))
    assert chat_template.choose(None, saved).source == chat_template.choose("chatml", ByteTokenizer()).source


def test_the_held_out_loss_is_that_of_answers(
    settings: Settings, write_config: Callable[[Any], Path], call: Call, tmp_path: Path
) -> None:
    assert call("train", "--config", write_config(settings)).exit_code == 0
    log = (tmp_path / "out" / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    (found,) = (record for record in map(json.loads, log) if record["event"] == "eval")
    section = DataSection(**settings["data"])
    held_out = data.load(section, ByteTokenizer(), lambda message: None).held_out
    assert held_out is not None
    folder = checkpoint.find(tmp_path / "out", print)
    network, _ = model.build_trained(model.read_config(folder), folder)
    network.eval()
    nats, count = 0.0, 0
    rows = held_out.rows
    assert isinstance(rows, WholeRows)
    with torch.no_grad():
        for row in range(len(rows.rows)):
            batch, place = held_out.batch(np.array([row])), 0
            for _, pairs in rows.segments(row):  # each conversation alone, at its positions
                own = slice(place, place + pairs)
                positions = torch.arange(place, place + pairs)[None]
                logits = network(input_ids=batch.tokens[:, own], position_ids=positions).logits[0]
                for at, target in enumerate(batch.targets[0, own].tolist()):
                    if target != IGNORED:
                        nats -= float(logits[at].double().log_softmax(-1)[target])
                        count += 1
                place += pairs
    assert found["loss"] == pytest.approx(nats / count, rel=1e-4)
    answers = held_out.text_bytes
    assert found["bits_per_byte"] == pytest.approx(found["loss"] / math.log(2) * count / answers)
