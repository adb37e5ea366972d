"""Weights and checkpoints in parts, written and read by three processes, against what transformers and safetensors read."""

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
from safetensors import safe_open
from transformers import AutoConfig, AutoModel, AutoModelForCausalLM

from tests.trainer.distributed import parts_at_work
from tests.trainer.models.test_row_shards import SMALL, SPECIAL
from trainer import export
from trainer.config import TrainingSection
from trainer.errors import UserError
from trainer.learning.optimizer import make_optimizer, state_tensors
from trainer.models import model
from trainer.survival.checkpoint import CheckpointFolder, find, restore
from trainer.survival.checksums import problems_of

ROOT = Path(__file__).parents[3]
CausalLM: Any = AutoModelForCausalLM


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Models, and what three processes made of them."""
    made = tmp_path_factory.mktemp("pärts in parts")
    for kind in ("gpt2", "llama", "mixtral"):
        config = AutoConfig.for_model(
            kind, **{**SPECIAL, **SMALL[kind]}, tie_word_embeddings=kind != "mixtral"
        )
        torch.manual_seed(1)
        built: Any = (
            AutoModel if kind == "gpt2" else AutoModelForCausalLM
        )  # without a prefix and an output layer
        built.from_config(config).save_pretrained(made / kind, max_shard_size="30KB")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    common = {"WORLD_SIZE": "3", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "PYTHONPATH": str(ROOT)}
    started = [
        subprocess.Popen(
            [sys.executable, parts_at_work.__file__, str(made)],
            env={**os.environ, **common, "RANK": rank, "LOCAL_RANK": rank},
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in "012"
    ]
    said = [process.communicate()[1] for process in started]
    assert [process.returncode for process in started] == [0, 0, 0], said
    return made


def found(folder: Path, kind: str) -> dict[str, Any]:
    result: dict[str, Any] = torch.load(folder / f"{kind}.pt", weights_only=True)
    return result


def assembled(checkpoint: Path) -> dict[str, torch.Tensor]:
    """The tensors of a checkpoint, put together from the offsets that each file states."""
    pieces: dict[str, list[tuple[int, torch.Tensor]]] = {}
    for file in (checkpoint / "shards").glob("*.safetensors"):
        with safe_open(file, framework="pt") as opened:
            offsets = json.loads(opened.metadata()["DCP_SHARDING_INFO"])
            for name in opened.keys():  # noqa: SIM118 - it is not a dict
                first = (offsets[name]["saved_offsets"] or [0])[0]
                pieces.setdefault(name, []).append((first, opened.get_tensor(name)))
    return {
        name: torch.cat([part for _, part in sorted(parts, key=lambda p: p[0])])
        for name, parts in pieces.items()
    }


@pytest.mark.parametrize("kind", ["gpt2", "llama"])
def test_each_process_reads_its_part_of_a_hugging_face_folder(folder: Path, kind: str) -> None:
    expected = CausalLM.from_pretrained(folder / kind).state_dict()
    weights = found(folder, kind)["loaded"]["weights"]
    assert weights.keys() == expected.keys()
    assert all(torch.equal(weights[name], tensor) for name, tensor in expected.items())


def test_weights_that_transformers_converts_are_read_as_a_whole(folder: Path) -> None:
    assert "its files do not hold model.layers.0." in found(folder, "mixtral")["reason"]


@pytest.mark.parametrize("kind", ["gpt2", "llama"])
def test_a_checkpoint_in_parts_holds_what_the_processes_had(folder: Path, kind: str) -> None:
    result = found(folder, kind)
    stepped, restored = result["stepped"], result["restored"]
    for part in ("weights", "optimizer"):
        assert stepped[part].keys() == restored[part].keys()
        assert all(torch.equal(restored[part][name], tensor) for name, tensor in stepped[part].items())
    path = folder / f"{kind} checkpoints" / "step-00000001"
    assert problems_of(path) == []
    files = assembled(path)
    for name, tensor in files.items():
        index = name.removeprefix("optimizer.")
        source = stepped["optimizer"][index] if index != name else stepped["weights"][name]
        assert torch.equal(tensor, source), name
    moments = [name for name in stepped["optimizer"] if "exp_avg" in name]
    assert {f"optimizer.{name}" for name in moments} <= files.keys()


def test_one_process_restores_and_exports_what_three_have_written(folder: Path, tmp_path: Path) -> None:
    stepped = found(folder, "llama")["stepped"]
    path = folder / "llama checkpoints" / "step-00000001"
    network, _ = model.build(model.read_config(path), path, 0)
    optimizer = make_optimizer(network, TrainingSection())
    assert restore(path, optimizer, parts_at_work.SCALER, parts_at_work.CPU).samples == 2
    for name, tensor in state_tensors(optimizer).items():
        assert torch.equal(tensor, stepped["optimizer"][name]), name
    export.export(path, tmp_path / "whole", merge=False, dtype=torch.float32, say=lambda line: None)
    for kept in (network.state_dict(), CausalLM.from_pretrained(tmp_path / "whole").state_dict()):
        assert all(torch.equal(kept[name], tensor) for name, tensor in stepped["weights"].items())


def test_an_export_is_written_file_by_file(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = folder / "gpt2 checkpoints" / "step-00000001"
    monkeypatch.setattr(export, "LARGEST_FILE", 20_000)
    output = tmp_path / "model"
    said: list[str] = []
    export.export(path, output, merge=False, dtype=torch.bfloat16, say=said.append)
    assert len([*output.glob("model-*.safetensors")]) == len(said) > 3
    loaded = CausalLM.from_pretrained(output)
    assert loaded.dtype == torch.bfloat16
    for name, tensor in found(folder, "gpt2")["stepped"]["weights"].items():
        assert torch.equal(loaded.state_dict()[name], tensor.to(torch.bfloat16)), name


def test_a_damaged_part_makes_the_checkpoint_damaged(folder: Path) -> None:
    path = folder / "gpt2 checkpoints" / "step-00000001"
    part = sorted((path / "shards").iterdir())[-1]
    content = bytearray(part.read_bytes())
    content[-1] ^= 1
    part.write_bytes(content)
    said: list[str] = []
    assert CheckpointFolder(path.parent, 1).newest(said.append) is None
    assert f"{part.name} has changed since it was written" in said[0]
    with pytest.raises(UserError, match="damaged"):
        find(path, said.append)
    part.unlink()
    assert problems_of(path) == [f"{part.name} is missing"]
