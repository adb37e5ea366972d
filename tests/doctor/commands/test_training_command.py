"""The command that a healthy diagnosis ends with works in the folder in which it is printed."""

from __future__ import annotations

import shlex
import shutil
from itertools import pairwise
from pathlib import Path

import pytest

from doctor.commands.training_command import training_command
from trainer.config.reading import load
from trainer.errors import UserError

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize("inside", [True, False])
def test_the_shipped_configuration_finds_its_data_from_any_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, inside: bool
) -> None:
    folder = tmp_path
    if inside:
        for name in ("configs", "training_data"):
            shutil.copytree(ROOT / name, folder / name)
    monkeypatch.chdir(folder)
    words = shlex.split(training_command(folder).replace("\\", "/"))
    options = dict(pairwise(words))
    overrides = {"dataset_file": options["--dataset-file"]} if "--dataset-file" in options else {}
    config = load(Path(options["--config"]), overrides)
    assert Path(str(config.data.dataset_file)).is_file()
    assert Path(options["--config"]).is_absolute() != inside


def test_training_without_a_model_names_a_command_that_works_in_this_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    with pytest.raises(UserError, match=r"aios train --config configs/quickstart\.yaml"):
        load(None, {"dataset_file": "text.txt"})
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=r"see the last line of: aios doctor$"):
        load(None, {"dataset_file": "text.txt"})
