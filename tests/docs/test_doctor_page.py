"""What the documents say about the doctor is what it does."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import make_pictures
import typer

from doctor.commands.app import COMMANDS, app

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "doctor.md").read_text(encoding="utf-8")
GROUP: Any = typer.main.get_command(app)


def test_the_page_names_every_option_and_no_other() -> None:
    def options(command: Any) -> set[str]:
        return {name for parameter in command.params for name in parameter.opts if name.startswith("--")}

    own = options(GROUP)
    everywhere = own.union(*(options(GROUP.load(name)) for name in COMMANDS))
    named = set(re.findall(r"(?<![-\w])--[a-z][a-z-]*", PAGE))
    assert own - named <= {"--verbose", "--help"}
    assert named <= everywhere
    assert "`-v`" in PAGE


def test_the_picture_is_current() -> None:
    picture = ROOT / "docs" / "images" / "doctor.svg"
    assert picture.read_text(encoding="utf-8") == make_pictures.picture(), "run: python scripts/regenerate.py"
