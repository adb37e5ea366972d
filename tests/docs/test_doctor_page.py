"""What the documents say about the doctor is what it does."""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import Any

import make_pictures
import typer

from doctor.commands.app import COMMANDS, app
from doctor.report.console import Printer

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "doctor.md").read_text(encoding="utf-8")
README = (ROOT / "README.md").read_text(encoding="utf-8")
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


def test_the_readmes_example_is_what_the_doctor_says() -> None:
    (block,) = re.findall(r"with nothing set up:\n\n((?:    .*\n|\n)+)", README)
    told = [line.removeprefix("    ") for line in block.rstrip().splitlines() if line.strip() != "..."]
    stream = io.StringIO()
    make_pictures.print_unprepared_machine(Printer(stream, width=make_pictures.WIDTH))
    printed = iter(stream.getvalue().splitlines())
    for line in told:
        assert line in printed, f"{line!r} is not there, or not in this order:\n{stream.getvalue()}"


def test_the_picture_is_current() -> None:
    picture = ROOT / "docs" / "images" / "doctor.svg"
    assert picture.read_text(encoding="utf-8") == make_pictures.picture(), "run: python scripts/regenerate.py"
