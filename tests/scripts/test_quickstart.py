"""The quickstart's own decisions; what it runs is tested where it lives, and the whole of it by `.ci/run`."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts"))

import environment
import quickstart


@pytest.fixture
def calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The `aios` commands that were run, in a repository of its own with a trained model."""
    run: list[str] = []

    def aios(*command: str) -> int:
        run.append(command[2])
        return 1 if command[2] == "doctor" else 0

    monkeypatch.setattr(environment, "REPOSITORY", tmp_path)
    monkeypatch.setattr(environment, "prepare", lambda extra: None)
    monkeypatch.setattr(environment, "run", aios)
    (tmp_path / quickstart.RESULT / "checkpoints").mkdir(parents=True)
    return run


def test_what_the_doctor_finds_does_not_stop_it(calls: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["quickstart.py"])
    assert quickstart.main() == 0
    assert calls == ["doctor", "train", "generate"]
    assert (environment.REPOSITORY / quickstart.RESULT / "checkpoints").exists(), (
        "a second run keeps the model"
    )


def test_again_was_refused_because_the_old_checkpoints_were_still_there(
    calls: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["quickstart.py", "--again"])
    assert quickstart.main() == 0
    assert calls == ["doctor", "train", "generate"]
    assert not (environment.REPOSITORY / quickstart.RESULT).exists()


def test_a_training_that_fails_ends_it(calls: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["quickstart.py"])
    monkeypatch.setattr(environment, "run", lambda *command: 2 if command[2] == "train" else 0)
    assert quickstart.main() == 2
