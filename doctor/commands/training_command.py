"""The command that comes after a healthy diagnosis, by what there is: a trained model, or a configuration."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from doctor.extras import this_environment

ARTIFACTS = "artifacts"  # where the shipped configurations write
FIRST_CONFIGURATION = "configs/quickstart.yaml"


def training_command(folder: Path) -> str:
    """Return the command, for a user whose current folder is `folder`."""
    trained = [*(folder / ARTIFACTS).glob("*/checkpoints/latest")]
    with suppress(OSError):
        newest = max(trained, key=lambda file: file.stat().st_mtime, default=None)
        if newest:
            return f'aios generate --checkpoint "{newest.parents[1].relative_to(folder).as_posix()}"'
    if (folder / FIRST_CONFIGURATION).is_file():
        return f"aios train --config {FIRST_CONFIGURATION}"
    checkout = this_environment().checkout
    if checkout and Path(checkout, FIRST_CONFIGURATION).is_file():
        return f'aios train --config "{Path(checkout, FIRST_CONFIGURATION)}"'
    return "aios train --help"
