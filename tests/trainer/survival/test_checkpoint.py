"""Checkpoints: intact or absent, and no intact one is deleted for an unverified one."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM
from typer.testing import Result

from trainer.config import TrainingSection
from trainer.errors import RunError, UserError
from trainer.learning.optimizer import make_optimizer
from trainer.learning.position import Position
from trainer.learning.state import MemorySettings
from trainer.models.tokenizer import ByteTokenizer
from trainer.survival import checkpoint, checksums
from trainer.survival.checkpoint import CheckpointFolder, restore
from trainer.survival.checksums import problems_of
from trainer.survival.saved_state import SavedState, read_state

CPU = torch.device("cpu")
Save = Callable[..., Path]
Settings = dict[str, dict[str, Any]]


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
def optimizer(network: Any) -> torch.optim.Optimizer:
    made = make_optimizer(network, TrainingSection())
    network(torch.arange(8)[None]).logits.sum().backward()
    made.step()
    return made


@pytest.fixture
def save(folder: Path, network: Any, optimizer: torch.optim.Optimizer) -> Save:
    def write(step: int, keep: int = 9) -> Path:
        scaler = torch.amp.GradScaler("cpu", enabled=True)
        state = SavedState(
            position=Position(step, step * 2), processes=1, scaler=scaler.state_dict(), config={"a": 1}
        )
        checkpoints = CheckpointFolder(folder, keep)
        return checkpoints.save(
            state, model=network, tokenizer=ByteTokenizer(), optimizer=optimizer, device=CPU
        )

    return write


CHECKPOINT_0_1_0 = Path(__file__).with_name("checkpoint_0_1_0")


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def newest(folder: Path) -> tuple[str | None, list[str]]:
    said: list[str] = []
    found = CheckpointFolder(folder, 1).newest(said.append)
    return found.name if found else None, said


def damage(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def test_everything_saved_is_restored(save: Save, network: Any, optimizer: torch.optim.Optimizer) -> None:
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


def test_transformers_can_load_a_checkpoint(save: Save, network: Any) -> None:
    loaded = AutoModelForCausalLM.from_pretrained(save(1))
    tokens = torch.arange(8)[None]
    assert torch.equal(loaded.eval()(tokens).logits, network.eval()(tokens).logits)


def test_latest_names_the_newest_and_only_the_last_are_kept(save: Save, folder: Path) -> None:
    for step in (1, 2, 10):
        save(step, keep=2)
    assert names(folder) == ["latest", "step-00000002", "step-00000010"]
    assert (folder / "latest").read_text() == "step-00000010\n"
    assert newest(folder) == ("step-00000010", [])


@pytest.mark.parametrize(
    "file", ["model.safetensors", "training_state.safetensors", "state.json", "config.json"]
)
def test_a_damaged_newest_checkpoint_falls_back_to_the_previous_one_with_a_warning(
    save: Save, folder: Path, file: str
) -> None:
    save(1)
    damage(save(2) / file)
    found, said = newest(folder)
    assert found == "step-00000001"
    assert len(said) == 1
    assert "step-00000002 is damaged" in said[0]
    assert file in said[0]


@pytest.mark.parametrize("file", ["checksums.json", "model.safetensors"])
def test_a_checkpoint_with_a_missing_file_is_damaged(save: Save, folder: Path, file: str) -> None:
    save(1)
    (save(2) / file).unlink()
    found, said = newest(folder)
    assert (found, len(said)) == ("step-00000001", 1)
    assert file in said[0]


def test_an_incomplete_checkpoint_is_ignored(save: Save, folder: Path) -> None:
    shutil.copytree(save(1), folder / "step-00000002.partial")
    assert newest(folder)[0] == "step-00000001"
    save(3)
    assert names(folder) == ["latest", "step-00000001", "step-00000003"]


def test_a_damaged_checkpoint_never_replaces_an_intact_one(save: Save, folder: Path) -> None:
    save(1, keep=1)
    later = save(5, keep=2)
    damage(later / "model.safetensors")
    save(3, keep=1)  # the run was resumed from 1
    assert newest(folder) == ("step-00000003", [])


def test_a_damaged_checkpoint_is_replaced_when_its_step_is_repeated(save: Save, folder: Path) -> None:
    save(1)
    damage(save(2) / "model.safetensors")
    assert problems_of(save(2)) == []
    assert names(folder) == ["latest", "step-00000001", "step-00000002"]


def test_a_checkpoint_that_cannot_be_written_leaves_the_others_unchanged(
    save: Save, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(1, keep=1)

    def full(path: Path) -> None:
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr(checksums, "flush", full)
    with pytest.raises(RunError, match=r"step 2 could not be written.*No space left.*--resume"):
        save(2, keep=1)
    assert newest(folder) == ("step-00000001", [])


def test_a_checkpoint_that_fails_verification_is_never_put_in_place(
    save: Save, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(1, keep=1)
    monkeypatch.setattr(
        checksums, "flush", lambda path: damage(path) if path.suffix == ".safetensors" else None
    )
    with pytest.raises(RunError, match="verification failed"):
        save(2, keep=1)
    assert newest(folder) == ("step-00000001", [])


def test_a_checkpoint_is_found_by_its_own_path_its_folder_or_its_run(save: Save, folder: Path) -> None:
    save(1)
    path = save(2)
    assert checkpoint.find(path, pytest.fail) == path
    assert checkpoint.find(folder, pytest.fail) == path
    assert checkpoint.find(folder.parent, pytest.fail) == path


def test_the_error_about_a_missing_or_damaged_checkpoint(save: Save, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="There is no checkpoint in"):
        checkpoint.find(tmp_path / "nowhere", pytest.fail)
    path = save(1)
    damage(path / "model.safetensors")
    with pytest.raises(UserError, match=r"damaged: model.safetensors has changed"):
        checkpoint.find(path, pytest.fail)
    with pytest.raises(UserError, match="All checkpoints are damaged in"):
        checkpoint.find(path.parent.parent, lambda _: None)


def test_the_state_is_read_back_as_saved(tmp_path: Path) -> None:
    state = SavedState(
        position=Position(3, 12),
        processes=2,
        scaler={"scale": 4.0},
        config={"training": {"steps": 6}},
        data_set={"samples": 9},
        memory=MemorySettings(micro_batch_size=2, gradient_checkpointing=True),
    )
    (tmp_path / "state.json").write_text(json.dumps(state.to_json()), encoding="utf-8")
    assert read_state(tmp_path) == state


@pytest.mark.parametrize("changed", [False, True])
def test_a_checkpoint_of_aios_0_1_0_is_resumed_with_its_data_set_and_memory_settings(
    settings: Settings,
    write_config: Callable[[Any], Path],
    call: Callable[..., Result],
    records: Callable[[Path], list[dict[str, Any]]],
    tmp_path: Path,
    text_file: Path,
    changed: bool,
) -> None:
    """The checkpoint was written after step 2 of a run whose first step ran out of memory three times."""
    shutil.copytree(CHECKPOINT_0_1_0, tmp_path / "out" / "checkpoints" / "step-00000002")
    settings["model"]["architecture"] |= {"n_layer": 1, "n_embd": 8, "n_positions": 32}
    settings["training"] |= {"steps": 4, "batch_size": 4}
    if changed:
        with text_file.open("a", encoding="utf-8") as file:
            file.write("one more line\n" * 9)
    result = call("train", "--config", write_config(settings), "--resume")
    assert result.exit_code == 0, result.output
    assert "continuing with micro-batches of 1 and gradient checkpointing" in result.stderr
    assert ("the data set has changed since the checkpoint" in result.stderr) == changed
    losses = [r["loss"] for r in records(tmp_path / "out" / "metrics.jsonl") if r["event"] == "train"]
    if not changed:
        assert losses == pytest.approx([5.517802715301514, 5.518745422363281], rel=1e-6)
    saved = read_state(tmp_path / "out" / "checkpoints" / "step-00000004")
    assert set(saved.config) == {"model", "data", "training", "output"}
    assert saved.memory == MemorySettings(micro_batch_size=1, gradient_checkpointing=True)
