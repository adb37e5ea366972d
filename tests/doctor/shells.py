"""What cmd and PowerShell make of a typed line, from their documentation: readings that are independent of how aios quotes.

* cmd: percent signs first, undefined variables stay as they are; then the caret, outside of quotes. https://ss64.com/nt/syntax-esc.html
* the programs: Microsoft, "Parsing C++ command-line arguments"
* PowerShell: Microsoft, about_Parsing and about_Quoting_Rules
"""

from __future__ import annotations

import re
from collections.abc import Mapping

SEPARATORS = "&|<>()\n"


class RunsSomethingError(Exception):
    """The line would expand a variable, start another command or redirect."""


def cmd_line(line: str, variables: Mapping[str, str]) -> str:
    """The line that cmd passes on. Raises RunsSomethingError for a separator outside of quotes."""

    def value(match: re.Match[str]) -> str:
        return variables.get(match[1].upper(), match[0])

    line = re.sub(r"%([^%]+)%", value, line)
    passed, quotes, at = "", False, 0
    while at < len(line):
        character = line[at]
        if character == '"':
            quotes = not quotes
        elif not quotes and character == "^":
            at += 1
            character = line[at]
        elif not quotes and character in SEPARATORS:
            raise RunsSomethingError(line)
        passed += character
        at += 1
    return passed


def program_arguments(line: str) -> list[str]:
    """The arguments of a program of Windows."""
    found: list[str] = []
    current, quotes, inside = "", False, False
    for backslashes, quote, other in re.findall(r'(\\*)(")|(\\+|[^\\"])', line):
        if quote:
            current += "\\" * (len(backslashes) // 2)
            inside = True
            if len(backslashes) % 2:
                current += '"'
            else:
                quotes = not quotes
        elif other in (" ", "\t") and not quotes:
            found += [current] if inside else []
            current, inside = "", False
        else:
            current, inside = current + other, True
    return [*found, current] if inside else found


def powershell_arguments(line: str) -> list[str]:
    """The arguments of a command line in PowerShell. Raises RunsSomethingError for what it would expand or start."""
    found: list[str] = []
    at = 0
    while at < len(line):
        if line[at] in " \t":
            at += 1
            continue
        if line[at] == "#":
            break
        word, at = _powershell_word(line, at)
        found.append(word)
    return found


def _powershell_word(line: str, at: int) -> tuple[str, int]:
    double, single = '"\u201c\u201d\u201e', "'\u2018\u2019\u201a\u201b"
    word = ""
    while at < len(line) and line[at] not in " \t":
        character = line[at]
        if character in single + double:
            kind = single if character in single else double
            at += 1
            while True:
                if at >= len(line):
                    raise RunsSomethingError(f"not ended: {line}")
                if line[at] in kind:
                    if line[at + 1 : at + 2] and line[at + 1] in kind:
                        at += 1
                    else:
                        break
                elif kind is double and line[at] in "$`":
                    raise RunsSomethingError(line)
                word += line[at]
                at += 1
        elif character in "$`;&|(){}<>,@":
            raise RunsSomethingError(line)
        else:
            word += character
        at += 1
    return word, at
