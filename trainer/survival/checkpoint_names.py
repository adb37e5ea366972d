"""The folders of a run's checkpoints, by their names. Imports no torch, so that a command can look at them at once."""

from __future__ import annotations

import re
from pathlib import Path

CHECKPOINTS = "checkpoints"  # in a run's output_dir


def checkpoints_in(folder: Path) -> list[Path]:
    """All checkpoints in a folder, intact or damaged, the oldest first."""
    return sorted(path for path in folder.glob("step-*") if re.fullmatch(r"step-\d+", path.name))
