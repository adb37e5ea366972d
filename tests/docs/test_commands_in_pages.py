"""Every command line in the pages is one that the command line parser accepts."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from aios import COMMANDS, EXIT_STATUSES, load

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
IN_A_BLOCK = re.compile(r"^(?:    |\$ )aios ([^\n]*)$", re.MULTILINE)
IN_A_SENTENCE = re.compile(r"`aios ([a-z][^`\n]*)`")


def found(pattern: re.Pattern[str]) -> list[tuple[str, str]]:
    """The pages and the arguments of `aios` in them."""
    texts = ((path, path.read_text(encoding="utf-8")) for path in PAGES)
    return sorted(
        {(path.relative_to(ROOT).as_posix(), line) for path, text in texts for line in pattern.findall(text)}
    )


def parse(arguments: list[str]) -> None:
    """Parse the arguments, subcommands included, without running anything."""
    name, *rest = arguments
    command, context = load(COMMANDS[name]), None
    while True:
        context = command.make_context(name, rest, parent=context)
        rest = [*getattr(context, "_protected_args", ()), *context.args]
        if not (hasattr(command, "commands") and rest):
            return
        name, command, rest = command.resolve_command(context, rest)


@pytest.mark.parametrize(("page", "line"), found(IN_A_BLOCK))
def test_the_parser_accepts_every_command_line(page: str, line: str) -> None:
    parse(shlex.split(line.replace("\\", "/"), comments=True))


@pytest.mark.parametrize(
    "line", ["wheels list flash-attn", "doctor --no-such-option", "doctor undo a b", "generate", "nonsense"]
)
def test_the_parser_rejects_invalid_command_lines(line: str) -> None:
    with pytest.raises(Exception):  # noqa: B017 - typer's own copy of click has the classes
        parse(line.split())


@pytest.mark.parametrize(("page", "line"), found(IN_A_SENTENCE))
def test_a_command_in_a_sentence_exists(page: str, line: str) -> None:
    name, *rest = line.split()
    command = load(COMMANDS[name])
    if rest and rest[0].isalpha() and rest[0].islower() and hasattr(command, "commands"):
        assert command.get_command(None, rest[0])


def test_index_names_every_command_once() -> None:
    index = (ROOT / "docs" / "index.md").read_text(encoding="utf-8")
    assert re.findall(r"^\| `aios ([a-z-]+)` \|", index, re.MULTILINE) == list(COMMANDS)


def test_the_page_of_exit_statuses_has_those_of_the_help() -> None:
    page = (ROOT / "docs" / "exit-statuses.md").read_text(encoding="utf-8")
    in_help = [status for status, _ in re.findall(r"(\d+) ([a-z]+)", EXIT_STATUSES)]
    assert re.findall(r"^\| (\d+) \|", page, re.MULTILINE) == in_help
