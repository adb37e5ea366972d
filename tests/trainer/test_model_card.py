"""The card of an exported model names the base model with its licence, the data and the steps, and no path of this machine."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from huggingface_hub import ModelCard

from trainer import model_card
from trainer.learning.early_stop import Best
from trainer.learning.position import Position
from trainer.survival.saved_state import SavedState

DATA = {"training_tokens": 9000, "samples": 300, "text_bytes": 9000}
CONFIG: dict[str, dict[str, Any]] = {
    "model": {"name": "org/base-1b", "use_peft": True, "lora_r": 8, "lora_alpha": 16},
    "data": {"dataset_file": "/home/someone/chats.jsonl", "max_length": 512},
    "training": {"learning_rate": 2e-4, "schedule": "cosine", "seed": 7},
}


@pytest.fixture
def checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    def make(base: str | None, **model: Any) -> Path:
        settings = {**CONFIG, "model": {**CONFIG["model"], "name": base, **model}}
        best = Best(1.25, 40)
        saved = SavedState(
            position=Position(40, 640), processes=1, scaler={}, config=settings, data_set=DATA, best=best
        )
        (tmp_path / "state.json").write_text("{}", encoding="utf-8")
        monkeypatch.setattr(model_card, "read_state", lambda folder: saved)
        return tmp_path

    return make


def base(tmp_path: Path, *, text: str | None = None, licence_file: bool = False) -> Path:
    folder = tmp_path / "models" / "Base ß"
    folder.mkdir(parents=True)
    if text:
        (folder / "README.md").write_text(text, encoding="utf-8")
    if licence_file:
        (folder / "LICENSE").write_text("Some licence", encoding="utf-8")
    return folder


def test_the_card_has_base_licence_data_and_steps(checkpoint: Callable[..., Path], tmp_path: Path) -> None:
    folder = base(tmp_path, text="---\nlicense: apache-2.0\n---\n# Base\n")
    text = model_card.card(checkpoint(str(folder)), "my model", adapter=False)
    assert text is not None
    read = ModelCard(text).data.to_dict()  # as the Hub reads it
    assert (read["license"], read["base_model"]) == ("apache-2.0", "Base ß")
    assert read["library_name"] == "transformers"
    for part in (
        "# my model",
        "Fine-tuned from Base ß",
        "| Data | chats.jsonl |",
        "| Samples | 300 of 512 tokens |",
        "| Steps | 40 (640 samples read) |",
        "| Method | LoRA, rank 8, alpha 16 |",
        "| Held-out loss | 1.2500 nats per token |",
        "The licence of Base ß is apache-2.0.",
    ):
        assert part in text
    assert "/home" not in text and str(tmp_path) not in text


@pytest.mark.parametrize(
    ("text", "licence_file", "words"),
    [
        (None, False, "is not in its folder"),
        (None, True, "is a licence of its own, in its folder"),
        ("---\nlicense: [broken\n---\n", False, "is not in its folder"),
        ("no front matter", False, "is not in its folder"),
    ],
)
def test_an_unknown_licence_is_said(
    checkpoint: Callable[..., Path], tmp_path: Path, text: str | None, licence_file: bool, words: str
) -> None:
    folder = base(tmp_path, text=text, licence_file=licence_file)
    found = model_card.card(checkpoint(str(folder)), "x", adapter=True)
    assert found is not None and words in found


def test_a_model_from_scratch_has_no_base(checkpoint: Callable[..., Path]) -> None:
    text = model_card.card(checkpoint(None, use_peft=False), "x", adapter=False)
    assert text is not None
    assert "Trained from scratch" in text and "| Method | all weights |" in text
    assert "base_model" not in yaml.safe_load(text.split("---")[1])


def test_a_hub_id_that_is_no_longer_here_keeps_its_name(checkpoint: Callable[..., Path]) -> None:
    text = model_card.card(checkpoint("org/base-1b"), "x", adapter=True)
    assert text is not None and "base_model: org/base-1b" in text and "library_name: peft" in text


def test_a_folder_of_another_program_gets_no_card(tmp_path: Path) -> None:
    assert model_card.card(tmp_path, "x", adapter=False) is None
