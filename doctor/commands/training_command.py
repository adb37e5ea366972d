"""The commands that come after a healthy diagnosis, by what there is: packages, a trained model, a configuration."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from doctor.extras import how_to_add, is_installed, this_environment

ARTIFACTS = "artifacts"  # where the shipped configurations write
FIRST_CONFIGURATION = "configs/quickstart.yaml"
FIRST_DATA = "training_data/curated_datasets/test_sample.txt"


def training_commands(folder: Path) -> tuple[str, ...]:
    """Return the commands, for a user whose current folder is `folder`; first what installs missing packages."""
    packages = () if is_installed("train") else tuple(how_to_add("train").split("\n  "))
    return (*packages, training_command(folder))


def training_command(folder: Path) -> str:
    """Return the one that trains, or samples from the newest trained model."""
    trained = [*(folder / ARTIFACTS).glob("*/checkpoints/latest")]
    with suppress(OSError):
        newest = max(trained, key=lambda file: file.stat().st_mtime, default=None)
        if newest:
            return f'aios generate --checkpoint "{newest.parents[1].relative_to(folder).as_posix()}"'
    if (folder / FIRST_CONFIGURATION).is_file():
        return f"aios train --config {FIRST_CONFIGURATION}"
    checkout = this_environment().checkout
    if checkout and Path(checkout, FIRST_CONFIGURATION).is_file():
        configuration, data = (Path(checkout, each) for each in (FIRST_CONFIGURATION, FIRST_DATA))
        return f'aios train --config "{configuration}" --dataset-file "{data}"'
    return "aios train --help"
