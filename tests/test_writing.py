"""Shipped texts avoid the ten patterns that made them hard to read (CONTRIBUTING, "How we write")."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SHIPPED = (
    "aios.py",
    "doctor",
    "gui",
    "trainer",
    "wheels",
    "scripts",
    "configs",
    "docs",
    "README.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
)
SUFFIXES = (".py", ".md", ".json", ".yaml", ".sh", ".cmd", ".c")
# Pattern -> a sentence that it rejects
PATTERNS = {
    r"\bnobody\b": "Nobody knows which torch it needs.",
    r"\b(?:whoever|whom)\b": "A pipe keeps whoever opens it waiting.",
    r"\b(?:somebody|everybody)\b": "Where somebody changed a value, undo leaves it.",
    r"\banew\b": "The environment is made anew.",
    r"\bgo(?:es)? on with\b": "It goes on with what torch brings.",
    r"(?<!there )\bis (?-i:none)\b(?! of)": "FOLDER is to be a full path, and X is none.",
    r"\bfor ever\b": "A wedged driver keeps its caller for ever.",
    r"\bwhat (?:it|they) (?:was|were)\b": "The data set is not what it was.",
    r"\bmakes? as if\b": "It makes as if the disk were full.",
    r"\b(?:is|are) to be \w+ed\b": "The folder is to be named in full.",
}
FOUND = re.compile("|".join(PATTERNS), re.IGNORECASE)
EXAMPLES = "| not | but |"  # the table in CONTRIBUTING that quotes what not to write


def shipped(name: str) -> list[Path]:
    """The files with text in a folder, or the file of this name."""
    path = ROOT / name
    files = path.rglob("*") if path.is_dir() else [path]
    return sorted(file for file in files if file.suffix in SUFFIXES)


def texts(path: Path) -> Iterator[tuple[int, str]]:
    """Line number and text: strings and comments of Python files, lines of others."""
    content = path.read_text(encoding="utf-8")
    if path.suffix != ".py":
        start, _, rest = content.partition(EXAMPLES)
        content = start + rest.partition("\n\n")[2]
        yield from enumerate(content.splitlines(), 1)
        return
    for node in ast.walk(ast.parse(content)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.lineno, node.value
    for token in tokenize.generate_tokens(io.StringIO(content).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string


@pytest.mark.parametrize("name", SHIPPED)
def test_texts_are_plain(name: str) -> None:
    found = [
        f"{path.relative_to(ROOT)}:{line}: {match.group()}"
        for path in shipped(name)
        for line, text in texts(path)
        if (match := FOUND.search(text))
    ]
    assert shipped(name) and not found


@pytest.mark.parametrize("pattern", PATTERNS)
def test_each_pattern_rejects_its_example(pattern: str) -> None:
    assert re.search(pattern, PATTERNS[pattern], re.IGNORECASE)
