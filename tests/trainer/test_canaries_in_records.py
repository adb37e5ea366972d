"""A run on a machine full of personal data: its records have no secret, and the card of its export has no name either."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.doctor.canaries import CANARIES, CREDENTIALS, content_of, make_home

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the folders and pip.conf are those of Linux")


def test_records_and_the_model_card_have_no_canary(
    settings: dict[str, dict[str, Any]],
    write_config: Callable[..., Path],
    capability_file: Path,
    text_file: Path,
    tmp_path: Path,
) -> None:
    home = make_home(tmp_path)
    (home.folder / "state").mkdir()
    shutil.copy(capability_file, home.folder / "state" / "capability.json")
    own = home.folder.parent / "Kanarienvogel" / "text.txt"
    own.parent.mkdir()
    shutil.copy(text_file, own)
    settings["data"]["dataset_file"] = str(own)
    settings["output"]["output_dir"] = "out"
    told = home.run("train", "--config", str(write_config(settings)))
    told += home.run("export", "--checkpoint", "out", "--output", "exported")
    told += home.run("runs", ".") + home.run(
        "generate", "--checkpoint", "out", "--prompt", "9", "--max-new-tokens", "3"
    )
    card = (home.folder / "exported" / "README.md").read_text(encoding="utf-8")
    assert [canary for canary in CANARIES if canary.casefold() in card.casefold()] == []
    told += (
        content_of(home.folder / "out")
        + content_of(home.folder / "state")
        + content_of(home.folder / "exported")
    )
    assert '"event": "run_start"' in told or '"event":"run_start"' in told
    assert [secret for secret in CREDENTIALS if secret in told] == []
