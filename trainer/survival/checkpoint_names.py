"""The folders of a run's checkpoints, by their names. Imports no torch, so that a command can look at them at once."""

from __future__ import annotations

from pathlib import Path

from trainer.survival.own_checkpoints import STEP, own_files

CHECKPOINTS = "checkpoints"  # in a run's output_dir


def checkpoints_in(folder: Path) -> list[Path]:
    """All checkpoints in a folder, intact or damaged, the oldest first. A link to one is one; a folder without files of aios is not."""
    named = (path for path in folder.glob("step-*") if STEP.fullmatch(path.name))
    return sorted(path for path in named if path.is_dir() and own_files(path.resolve()))
