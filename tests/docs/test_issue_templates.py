"""Issue templates ask for the report of the doctor, and name commands that exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from aios import COMMANDS
from tests.docs.test_commands_in_pages import parse

ROOT = Path(__file__).parents[2]
TEMPLATES = sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml"))
FORMS = [path for path in TEMPLATES if path.name != "config.yml"]


@pytest.mark.parametrize("path", FORMS, ids=lambda path: path.stem)
def test_a_form_has_what_github_needs(path: Path) -> None:
    form = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert form["name"] and form["description"]
    fields = [field for field in form["body"] if field["type"] != "markdown"]
    ids = [field["id"] for field in fields]
    assert ids and len(set(ids)) == len(ids)
    assert all(field["attributes"]["label"] for field in fields)


@pytest.mark.parametrize("path", FORMS, ids=lambda path: path.stem)
def test_a_form_for_problems_asks_for_the_report(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert ("`aios doctor report`" in text) == (path.stem != "feature")
    for command in re.findall(r"`aios ([^`]+)`", text):
        assert command.split()[0] in COMMANDS
        if "--" in command:
            parse(command.split())
