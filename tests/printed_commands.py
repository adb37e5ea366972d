"""The commands of aios in texts: what the tests of this session have printed, and what the source can print."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aios import COMMANDS, load

ROOT = Path(__file__).parents[1]
PRINTING = ("aios.py", "doctor", "trainer", "wheels", "scripts", "configs", "training_data")
START = re.compile(r"(?<![\w/\\.-])aios (?=[a-z-])")
WORD = re.compile(r"[\w./:\\\"'{}=<>*+-]+")
OPTION = re.compile(r"--[a-z][a-z0-9-]*")
ENDS_A_COMMAND = ("`", ",", ";", ")", "'", '"')


@dataclass(frozen=True)
class Printed:
    """The command and its subcommand, if it has one: ("doctor", "fix"); and the options that are printed with it."""

    path: tuple[str, ...]
    options: frozenset[str]


PRINTED: set[Printed] = set()
_SUBCOMMANDS: dict[str, frozenset[str]] = {}


def record(text: str) -> None:
    """Remember the commands in what a command has printed."""
    PRINTED.update(commands_in(text))


def commands_in(text: str) -> Iterator[Printed]:
    """The commands of aios in a text; "aios" as the subject of a sentence is none."""
    for start in START.finditer(text):
        line = text[start.end() :].split("\n", 1)[0]
        line = re.split(r"[.;:,] |[`;,]|[.:]$|\)| - ", line, maxsplit=1)[0]
        words = line.split()
        if not words or words[0].strip("'\"") not in COMMANDS:
            continue
        name = words[0].strip("'\"")
        rest = [word.strip("'\"") for word in words[1:]]
        subcommands = _subcommands(name)
        path = (name, rest[0]) if subcommands and rest and rest[0] in subcommands else (name,)
        before_other_program = rest[: rest.index("--")] if "--" in rest else rest
        yield Printed(path, frozenset(OPTION.findall(" ".join(before_other_program))))


def commands_in_source() -> Iterator[Printed]:
    """The commands in the texts of the source, without docstrings; and in the shipped configurations."""
    for name in PRINTING:
        root = ROOT / name
        for file in [root] if root.is_file() else sorted(root.rglob("*")):
            if file.suffix == ".py":
                yield from (each for text in _texts(file) for each in commands_in(text))
            elif file.suffix in (".yaml", ".md", ".sh", ".cmd") or file.name == "failures.json":
                yield from commands_in(file.read_text(encoding="utf-8"))


def merged(printed: Iterable[Printed]) -> Mapping[tuple[str, ...], frozenset[str]]:
    """The options of each command."""
    options: dict[tuple[str, ...], frozenset[str]] = {}
    for each in printed:
        options[each.path] = options.get(each.path, frozenset()) | each.options
    return options


def _subcommands(name: str) -> frozenset[str]:
    if name not in _SUBCOMMANDS:
        command: Any = load(COMMANDS[name])
        _SUBCOMMANDS[name] = frozenset(getattr(command, "commands", ()))
    return _SUBCOMMANDS[name]


def _texts(file: Path) -> Iterator[str]:
    tree = ast.parse(file.read_text(encoding="utf-8"))
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    docstrings = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, documented) and node.body and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            yield "".join(str(part.value) if isinstance(part, ast.Constant) else "X" for part in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
            yield node.value
