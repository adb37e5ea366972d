"""Reading a YAML file: bounded, with each key once, and errors that say what to write instead."""

from __future__ import annotations

import re
import unicodedata
from pathlib import Path
from typing import Any

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from doctor.bounded import UnreadableFileError, read_bytes
from trainer import file_kinds
from trainer.errors import UserError

LARGEST = 4 << 20  # bytes of a file
MOST_NAMED = 10  # configurations in a message
MOST_NODES = 100_000  # with every alias expanded
WINDOWS_PATH = re.compile(r'"[A-Za-z]:\\')  # a double-quoted path with single backslashes
USE_SINGLE_QUOTES = (
    "In double quotes, YAML reads a backslash as the start of an escape. Write a Windows path in single quotes, "
    "or with / instead of \\."
)


def read(file: Path) -> Any:
    """The content of a YAML file.

    Raises:
        UserError: it cannot be read, or is not valid YAML.
    """
    about = f"The configuration file {file.absolute()}"
    text = _decoded(_bytes(file, about), about)
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        if node is not None and _size(node, {}) > MOST_NODES:
            raise UserError(
                f"{about} is too large: with its aliases expanded, it has more than {MOST_NODES:,} values."
            )
        return None if node is None else loader.construct_document(node)
    except yaml.YAMLError as error:
        raise UserError(f"{about} is not valid YAML: {_explained(error, text)}") from None
    except ValueError as error:  # an integer of thousands of digits
        raise UserError(f"{about} contains a value that cannot be read: {error}.") from None
    except RecursionError:
        raise UserError(f"{about} is nested too deeply.") from None


def control_character(value: str) -> str | None:
    """The name of the first character in a value that belongs in no path or name, such as a tab; None without one."""
    for character in value:
        if unicodedata.category(character) in ("Cc", "Zl", "Zp") or character == "\u00a0":
            return CHARACTERS.get(character, f"U+{ord(character):04X}")
    return None


CHARACTERS = {
    "\n": "a line break",
    "\r": "a carriage return",
    "\t": "a tab",
    "\b": "a backspace",
    "\u00a0": "a no-break space",
}


def _bytes(file: Path, about: str) -> bytes:
    try:
        return read_bytes(file, LARGEST)
    except FileNotFoundError:
        raise UserError(f"No configuration file at {file.absolute()}.{_others(file)}") from None
    except IsADirectoryError:
        raise UserError(f"{about} is a folder. Set --config to a YAML file.") from None
    except UnreadableFileError as error:
        raise UserError(
            f"{about} cannot be read: {error}. Set --config to a YAML file with the settings of a run."
        ) from None
    except (OSError, ValueError) as error:
        raise UserError(f"{about} cannot be read: {getattr(error, 'strerror', None) or error}.") from None


def _others(file: Path) -> str:
    """The configurations beside a file that does not exist, and those that are shipped."""
    folders = dict.fromkeys((file.parent, Path("configs")))
    found = [str(other) for folder in folders for other in sorted(folder.glob("*.yaml"))]
    return f" There are: {', '.join(found[:MOST_NAMED])}." if found else ""


def _decoded(content: bytes, about: str) -> str:
    found = file_kinds.foreign(content)
    if found:
        raise UserError(found.sentence(about))
    encoding = file_kinds.encoding(content)
    try:
        return content.decode(encoding)
    except UnicodeDecodeError:
        if encoding.startswith("utf-8"):
            raise UserError(f"{about} is not UTF-8: {file_kinds.not_utf8(content)}") from None
        raise UserError(f"{about} is not valid {encoding.upper()}. Save it as UTF-8.") from None


class _Loader(yaml.SafeLoader):
    """YAML without tags, with numbers as in YAML 1.2, and an error for a key that occurs twice."""

    def compose_node(self, parent: Node | None, index: int) -> Node | None:
        event = self.peek_event()  # type: ignore[no-untyped-call]
        tag = getattr(event, "tag", None)
        if tag is not None:
            raise yaml.MarkedYAMLError(
                None, None, f"the tag {tag} is not supported; remove it", event.start_mark
            )
        return super().compose_node(parent, index)

    def compose_mapping_node(self, anchor: Any) -> MappingNode:
        node = super().compose_mapping_node(anchor)
        lines: dict[str, int] = {}
        for key, _ in node.value:
            if not isinstance(key, ScalarNode):
                continue
            line = key.start_mark.line + 1
            if key.value in lines:
                twice = (
                    f"the key {key.value} is given twice, in lines {lines[key.value]} and {line}; merge them"
                )
                raise yaml.MarkedYAMLError(None, None, twice, key.start_mark)
            lines[key.value] = line
        return node


# YAML 1.1, which PyYAML reads, takes 2e-5 for a string and 2026-11-30 for a date.
_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?(\d+(\.\d*)?|\.\d+)[eE][-+]?\d+$"), list("-+.0123456789")
)


def _size(node: Node, known: dict[int, int]) -> int:
    """The number of values in a node, with every alias expanded."""
    if id(node) not in known:
        known[id(node)] = MOST_NODES + 1  # if it contains itself
        children = []
        if isinstance(node, MappingNode):
            children = [child for pair in node.value for child in pair]
        elif isinstance(node, SequenceNode):
            children = node.value
        known[id(node)] = 1 + sum(_size(child, known) for child in children)
    return known[id(node)]


def _explained(error: yaml.YAMLError, text: str) -> str:
    problem = getattr(error, "problem", None)
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    if mark is None:
        return f"{str(error).splitlines()[0]}."
    place = f"line {mark.line + 1}, column {mark.column + 1}"
    problem = str(problem or getattr(error, "context", None) or "syntax error")
    if "'\\t'" in problem:
        return f"{place}: a tab, where YAML requires spaces."
    started = getattr(error, "context_mark", None) or mark
    if "escape" in problem or any(
        WINDOWS_PATH.search(line) for line in _lines(text, started.line, mark.line)
    ):
        return f"{place}: {problem}. {USE_SINGLE_QUOTES}"
    if "mapping values are not allowed" in problem:
        return f"{place}: {problem}. A value that contains ': ' needs quotes; keys of a section have the same indentation."
    return f"{place}: {problem}{'' if problem.endswith('.') else '.'}"


def _lines(text: str, first: int, last: int) -> list[str]:
    return text.splitlines()[first : last + 1]
