"""The pages about training name exactly the existing options, events and states."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import get_args

import pytest
from typer.testing import Result

from trainer.config import TrainConfig, each_key
from trainer.records.runs import State

ROOT = Path(__file__).parents[2]
PAGES = ("training", "training-data", "lora", "running", "windows-and-chunks", "exporting")
PAGE = "\n".join((ROOT / "docs" / f"{name}.md").read_text(encoding="utf-8") for name in PAGES)
LINES = sorted(set(re.findall(r"^    aios ([^#\n]*)", PAGE, re.MULTILINE)))


def table(heading: str) -> dict[str, str]:
    """First cell → the rest of its row, for the table whose heading starts with this text."""
    rows = PAGE.split(f"\n| {heading} |", 1)[1].split("\n\n", 1)[0].splitlines()[2:]
    cells = [row.strip("| ").split(" | ", 1) for row in rows]
    return {first.strip("`"): rest for first, rest in cells}


@pytest.mark.parametrize("line", LINES)
def test_every_command_line_is_valid(line: str, call: Callable[..., Result]) -> None:
    result = call(*shlex.split(line), "--help")
    assert result.exit_code == 0, result.output


def test_the_table_of_keys_is_complete() -> None:
    told = {section: re.findall(r"`(\w+)`", keys) for section, keys in table("section").items()}
    known: dict[str, list[str]] = {section: [] for section in TrainConfig.model_fields}
    for section, key, field in each_key():
        known[section] += [key, field.alias] if field.alias else [key]
    assert {section: sorted(keys) for section, keys in told.items()} == {
        s: sorted(k) for s, k in known.items()
    }


def test_the_table_of_events_is_complete() -> None:
    source = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "trainer").rglob("*.py"))
    assert set(table("event")) == set(re.findall(r'\blog\.write\(\s*"(\w+)"', source))


def test_the_table_of_states_is_complete() -> None:
    assert set(table("state")) == set(get_args(State))


def test_the_targets_of_links_exist() -> None:
    for link in re.findall(r"\]\((?!https?:)([^)#]+)", PAGE):
        assert (ROOT / "docs" / link).is_file(), link
