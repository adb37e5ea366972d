"""Checkpoints: whole or not there, and nothing good deleted for something unverified."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from trainer.config import TrainingSection
from trainer.errors import RunError, UserError
from trainer.learning.optimizer import make_optimizer
from trainer.learning.position import Position
from trainer.models.tokenizer import ByteTokenizer
from trainer.survival import checkpoint
from trainer.survival.checkpoint import CheckpointFolder, problems_of, restore

CPU = torch.device("cpu")
Save = Callable[..., Path]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "out put ß" / "checkpoints"


@pytest.fixture
def network() -> Any:
    torch.manual_seed(0)
    config = AutoConfig.for_model("gpt2", n_layer=1, n_head=2, n_embd=16, n_positions=8, vocab_size=258)
    config.bos_token_id = config.eos_token_id = 256
    return AutoModelForCausalLM.from_config(config, dtype=torch.float32)


@pytest.fixture
def optimizer(network: Any) -> torch.optim.AdamW:
    made = make_optimizer(network, TrainingSection())
    network(torch.arange(8)[None]).logits.sum().backward()
    made.step()
    return made


@pytest.fixture
def save(folder: Path, network: Any, optimizer: torch.optim.AdamW) -> Save:
    def write(step: int, keep: int = 9) -> Path:
        scaler = torch.amp.GradScaler("cpu", enabled=True)
        folder_ = CheckpointFolder(folder, keep)
        return folder_.save(
            Position(step, step * 2), network, ByteTokenizer(), optimizer, scaler, CPU, {"a": 1}
        )

    return write


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def newest(folder: Path) -> tuple[str | None, list[str]]:
    said: list[str] = []
    found = CheckpointFolder(folder, 1).newest(said.append)
    return found and found.name, said


def damage(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def test_what_is_saved_comes_back(save: Save, network: Any, optimizer: torch.optim.AdamW) -> None:
    path = save(7)
    random_after_saving = torch.rand(3)
    fresh = make_optimizer(network, TrainingSection())
    scaler = torch.amp.GradScaler("cpu", enabled=True, init_scale=4.0)
    assert restore(path, fresh, scaler, CPU) == Position(7, 14)
    assert torch.equal(torch.rand(3), random_after_saving)
    assert scaler.get_scale() == 65536.0
    for index, slots in optimizer.state_dict()["state"].items():
        for slot, tensor in slots.items():
            assert torch.equal(fresh.state_dict()["state"][index][slot], tensor)


def test_transformers_alone_can_load_it(save: Save, network: Any) -> None:
    loaded = AutoModelForCausalLM.from_pretrained(save(1))
    tokens = torch.arange(8)[None]
    assert torch.equal(loaded.eval()(tokens).logits, network.eval()(tokens).logits)


def test_the_pointer_names_the_newest_and_only_so_many_are_kept(save: Save, folder: Path) -> None:
    for step in (1, 2, 10):
        save(step, keep=2)
    assert names(folder) == ["latest", "step-00000002", "step-00000010"]
    assert (folder / "latest").read_text() == "step-00000010\n"
    assert newest(folder) == ("step-00000010", [])


@pytest.mark.parametrize(
    "file", ["model.safetensors", "training_state.safetensors", "state.json", "config.json"]
)
def test_a_damaged_newest_checkpoint_falls_back_and_says_so(save: Save, folder: Path, file: str) -> None:
    save(1)
    damage(save(2) / file)
    found, said = newest(folder)
    assert found == "step-00000001"
    assert len(said) == 1
    assert "step-00000002 is damaged" in said[0]
    assert file in said[0]


@pytest.mark.parametrize("file", ["checksums.json", "model.safetensors"])
def test_a_missing_file_is_damage(save: Save, folder: Path, file: str) -> None:
    save(1)
    (save(2) / file).unlink()
    found, said = newest(folder)
    assert (found, len(said)) == ("step-00000001", 1)
    assert file in said[0]


def test_a_half_written_checkpoint_is_none(save: Save, folder: Path) -> None:
    shutil.copytree(save(1), folder / "step-00000002.partial")
    assert newest(folder)[0] == "step-00000001"
    save(3)
    assert names(folder) == ["latest", "step-00000001", "step-00000003"]


def test_a_damaged_checkpoint_never_pushes_out_a_good_one(save: Save, folder: Path) -> None:
    save(1, keep=1)
    later = save(5, keep=2)
    damage(later / "model.safetensors")
    save(3, keep=1)  # the run went on from 1
    assert newest(folder) == ("step-00000003", [])


def test_a_damaged_checkpoint_is_replaced_when_its_step_is_reached_again(save: Save, folder: Path) -> None:
    save(1)
    damage(save(2) / "model.safetensors")
    assert problems_of(save(2)) == []
    assert names(folder) == ["latest", "step-00000001", "step-00000002"]


def test_a_checkpoint_that_cannot_be_written_leaves_the_others_alone(
    save: Save, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(1, keep=1)

    def full(path: Path) -> None:
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr(checkpoint, "flush", full)
    with pytest.raises(RunError, match=r"step 2 could not be written.*No space left.*--resume"):
        save(2, keep=1)
    assert newest(folder) == ("step-00000001", [])


def test_what_reads_back_wrong_is_never_put_in_place(
    save: Save, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(1, keep=1)
    monkeypatch.setattr(
        checkpoint, "flush", lambda path: damage(path) if path.suffix == ".safetensors" else None
    )
    with pytest.raises(RunError, match="reads back wrong"):
        save(2, keep=1)
    assert newest(folder) == ("step-00000001", [])


def test_a_checkpoint_is_found_by_itself_its_folder_or_its_run(save: Save, folder: Path) -> None:
    save(1)
    path = save(2)
    assert checkpoint.find(path, pytest.fail) == path
    assert checkpoint.find(folder, pytest.fail) == path
    assert checkpoint.find(folder.parent, pytest.fail) == path


def test_no_checkpoint_is_explained(save: Save, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there is none"):
        checkpoint.find(tmp_path / "nowhere", pytest.fail)
    path = save(1)
    damage(path / "model.safetensors")
    with pytest.raises(UserError, match=r"damaged: model.safetensors has changed"):
        checkpoint.find(path, pytest.fail)
    with pytest.raises(UserError, match="every one is damaged"):
        checkpoint.find(path.parent.parent, [].append)
