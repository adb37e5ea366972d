"""A bundle replaces the model of an earlier run, and nothing that aios did not write."""

from __future__ import annotations

from pathlib import Path

import pytest

from trainer.commands.hrm_bundle import DESCRIPTION, MODEL, write
from trainer.config import TrainConfig
from trainer.errors import RunError
from trainer.learning.position import Position
from trainer.run import Summary

SUMMARY = Summary(
    position=Position(2, 4),
    completed=True,
    steps_taken=2,
    evaluation=None,
    tokens_per_second=None,
    mfu=None,
    no_mfu=None,
    unigram_entropy=1.0,
    bigram_entropy=1.0,
)
CONFIG = TrainConfig.model_validate({"training": {}})


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    folder = tmp_path / "run" / "checkpoints" / "step-2"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("new", encoding="utf-8")
    return folder


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    folder = tmp_path / "brains" / "mine"
    folder.mkdir(parents=True)
    return folder


def content(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }


@pytest.mark.parametrize("name", [f"{MODEL}/NOTES.txt", DESCRIPTION])
def test_what_the_user_had_there_is_left_unchanged(bundle: Path, checkpoint: Path, name: str) -> None:
    (bundle / name).parent.mkdir(exist_ok=True)
    (bundle / name).write_text('{"mine": true}', encoding="utf-8")
    before = content(bundle)
    with pytest.raises(RunError, match="It was left unchanged") as raised:
        write(bundle, checkpoint, CONFIG, SUMMARY)
    assert str(checkpoint) in str(raised.value)
    assert content(bundle) == before


def test_the_model_of_an_earlier_run_is_replaced(bundle: Path, checkpoint: Path) -> None:
    write(bundle, checkpoint, CONFIG, SUMMARY)
    (bundle / MODEL / "config.json").write_text("old", encoding="utf-8")
    write(bundle, checkpoint, CONFIG, SUMMARY)
    assert content(bundle).keys() == {DESCRIPTION, f"{MODEL}/config.json"}
    assert content(bundle)[f"{MODEL}/config.json"] == b"new"


def test_notes_in_the_model_of_an_earlier_run_are_kept(bundle: Path, checkpoint: Path) -> None:
    write(bundle, checkpoint, CONFIG, SUMMARY)
    (bundle / MODEL / "NOTES.txt").write_text("mine", encoding="utf-8")
    (bundle / MODEL / "mine").mkdir()
    (bundle / MODEL / "mine" / "config.json").write_text("mine", encoding="utf-8")
    (checkpoint / "config.json").write_text("newer", encoding="utf-8")
    write(bundle, checkpoint, CONFIG, SUMMARY)
    assert content(bundle / MODEL) == {
        "config.json": b"newer",
        "NOTES.txt": b"mine",
        "mine/config.json": b"mine",
    }
    assert sorted(path.name for path in bundle.iterdir()) == [DESCRIPTION, MODEL]
