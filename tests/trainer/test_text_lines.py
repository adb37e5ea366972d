"""Lines on a terminal break between words only, at every width; a pipe gets them whole."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from trainer.text_lines import shown

ROOT = Path(__file__).parents[2]


def messages() -> list[str]:
    """Every text of the trainer that is long enough to be wrapped."""
    found = set()
    for file in (ROOT / "trainer").rglob("*.py"):
        tree = ast.parse(file.read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
                parts = [each.value for each in ast.walk(node.exc) if isinstance(each, ast.Constant)]
                found.add("".join(part for part in parts if isinstance(part, str)))
    return sorted(text for text in found if len(text) > 60)


@pytest.mark.parametrize("width", [40, 60, 80, 100, 120])
def test_no_word_is_broken_and_no_line_is_too_long(width: int) -> None:
    assert len(messages()) > 100
    for text in messages():
        lines = shown(text, width).split("\n")
        assert " ".join(" ".join(lines).split()) == " ".join(text.split())
        for line in lines:
            one_piece = line.startswith((" ", "`", '"', "(")) or " " not in line
            assert len(line) < width or one_piece, line


def test_a_pipe_and_a_command_to_copy_are_not_wrapped() -> None:
    long = "word " * 40 + "end"
    assert shown(long, None) == long
    command = "  " + "python -m pip install " * 9
    assert shown(f"Install it:\n{command}", 60) == f"Install it:\n{command}"


def test_text_cannot_control_the_terminal() -> None:
    assert shown("a\x1b[31mb", 80) == "a\\x1b[31mb"
