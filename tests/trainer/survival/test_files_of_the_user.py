"""Files of the user in a run's folders outlive retention, resume, repeated steps and export."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import Result

from tests.doctor.install.fresh_environment import Tree, tree_of
from trainer.survival import own_checkpoints
from trainer.survival.checksums import problems_of

Call = Callable[..., Result]
Settings = dict[str, dict[str, Any]]
NOTES = [
    "notes.txt",
    "mine/step-00000002/state.json",
    "checkpoints/notes.txt",
    "checkpoints/notes.partial/x.txt",
    "checkpoints/step-1 copy/state.json",
    "checkpoints/step-00000001.partial/notes.txt",
    "checkpoints/step-00000002.old.partial/notes.txt",
    "checkpoints/step-00000002/notes.txt",
    "checkpoints/step-00000003/shards/notes.txt",
    "checkpoints/step-00000004.partial/notes.txt",  # where later steps are written
    "checkpoints/step-00000005/notes.txt",
    "checkpoints/step-00000006/mine/config.json",
    "checkpoints/step-00000099/notes.txt",
]


@pytest.fixture
def run(
    settings: Settings, write_config: Callable[..., Path], call: Call, tmp_path: Path
) -> Callable[..., Result]:
    settings["training"] |= {"checkpoint_every": 1, "keep_checkpoints": 1}
    config = write_config(settings)
    return lambda steps, *more: call(
        "train", "--config", config, "--steps", steps, "--output-dir", tmp_path / "out", *more
    )


def add_notes(out: Path) -> Tree:
    for name in NOTES:
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        (out / name).write_text(f"notes in {name}\n", encoding="utf-8")
    (out / "checkpoints" / "step-00000007").mkdir()
    if os.name != "nt":
        elsewhere = out.parent / "elsewhere"
        shutil.copytree(out / "checkpoints" / "step-00000003", elsewhere)
        (out / "checkpoints" / "step-00000001").symlink_to(elsewhere)
        (out / "checkpoints" / "mine.partial").symlink_to(elsewhere)
    return tree_of(out.parent)


def lost(before: Tree, out: Path) -> list[str]:
    """What is not as it was, except the files that aios wrote."""
    now = tree_of(out.parent)
    mine = {
        name
        for name in before
        if name.endswith("notes.txt") or "mine" in name or "copy" in name or "elsewhere" in name
    }
    mine |= {name for name in before if before[name].startswith("link")}
    return sorted(name for name in mine if now.get(name) != before[name])


def test_retention_resume_and_export_leave_the_files_of_the_user(
    run: Callable[..., Result], call: Call, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    assert run(3).exit_code == 0
    before = add_notes(out)
    done = run(8, "--resume")
    assert done.exit_code == 0, done.output
    assert lost(before, out) == []
    folder = out / "checkpoints"
    with_weights = sorted(
        path.parent.name for path in folder.glob("step-*/model.safetensors") if not path.parent.is_symlink()
    )
    assert with_weights == ["step-00000008"], "what aios wrote is deleted from folders with notes, too"
    assert call("export", "--checkpoint", out, "--output", tmp_path / "x").exit_code == 0
    assert lost(before, out) == []
    again = run(9)
    assert lost(before, out) == [], again.output


def test_a_step_is_written_into_a_folder_with_notes_and_over_a_damaged_checkpoint(
    run: Callable[..., Result], tmp_path: Path
) -> None:
    step = tmp_path / "out" / "checkpoints" / "step-00000003"
    assert run(2).exit_code == 0
    step.mkdir()
    (step / "notes.txt").write_text("mine", encoding="utf-8")
    assert run(3, "--resume").exit_code == 0
    assert problems_of(step) == []
    assert own_checkpoints.others_in(step) == [step / "notes.txt"]
    (step / "model.safetensors").write_bytes(b"damaged")
    assert run(3, "--resume").exit_code in (0, 2)
    assert (step / "notes.txt").read_text(encoding="utf-8") == "mine"


def test_a_file_of_the_user_with_the_name_of_a_checkpoints_file_is_an_error_in_a_sentence(
    run: Callable[..., Result], tmp_path: Path
) -> None:
    step = tmp_path / "out" / "checkpoints" / "step-00000003"
    assert run(2).exit_code == 0
    step.mkdir()
    (step / "config.json").write_text("mine", encoding="utf-8")
    done = run(3, "--resume")
    assert done.exit_code == 1
    assert "exists, and was not written by aios: rename it" in " ".join(done.stderr.split())
    assert [path.name for path in step.iterdir()] == ["config.json"]
    assert (step / "config.json").read_text(encoding="utf-8") == "mine"


@pytest.mark.parametrize("name", ["../outside.txt", "/etc/hostname", "notes/../../outside.txt"])
def test_checksums_that_lead_outside_delete_nothing_there(tmp_path: Path, name: str) -> None:
    checkpoint = tmp_path / "checkpoints" / "step-00000001"
    checkpoint.mkdir(parents=True)
    (tmp_path / "checkpoints" / "outside.txt").write_text("mine", encoding="utf-8")
    (checkpoint / "checksums.json").write_text(f'{{"state.json": "0", "{name}": "0"}}', encoding="utf-8")
    own_checkpoints.delete(checkpoint)
    assert [path.name for path in tmp_path.rglob("*")] == ["checkpoints", "outside.txt"]


@pytest.mark.skipif(os.name == "nt", reason="links need rights there")
def test_links_are_neither_followed_nor_deleted(tmp_path: Path) -> None:
    checkpoint, elsewhere = tmp_path / "step-00000001", tmp_path / "elsewhere"
    for folder in (checkpoint, elsewhere):
        (folder / "shards").mkdir(parents=True)
        (folder / "state.json").write_text("{}", encoding="utf-8")
        (folder / "shards" / "shard-00001-of-00001.safetensors").write_bytes(b"x")
    (checkpoint / "model.safetensors").symlink_to(elsewhere / "state.json")
    (checkpoint / "base").symlink_to(elsewhere)
    (tmp_path / "step-00000002").symlink_to(elsewhere)
    before = tree_of(elsewhere)
    own_checkpoints.delete(checkpoint)
    own_checkpoints.delete(tmp_path / "step-00000002")
    assert tree_of(elsewhere) == before
    assert sorted(path.name for path in checkpoint.iterdir()) == ["base", "model.safetensors"]
    assert (tmp_path / "step-00000002").is_symlink()
