"""Quote a word of a command line for the shells that a command is printed for: sh, or cmd and PowerShell.

On Windows the shell is not known, and most words have a form that both take: in double quotes. A word for which they differ, such as a
folder called "a$b", is marked in the command; `each_shell` then returns the command twice, for cmd and for PowerShell.

Rules: POSIX, Shell Command Language, 2.2 Quoting; Microsoft's about_Quoting_Rules and "Parsing C++ command-line arguments"; cmd /?
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterable, Iterator

PLAIN = re.compile(r"[\w\\/:.=+-]+")  # one word without quotes, in cmd and in PowerShell
PLAIN_IN_SH = re.compile(r"[\w/:.=+-]+")
NOT_IN_DOUBLE_QUOTES_OF_SH = re.compile(r'[$`"!]|\\(?:[\\\n]|\Z)')
# PowerShell takes typographic quotes for quotes
DOUBLE, SINGLE = '"\u201c\u201d\u201e', "'\u2018\u2019\u201a\u201b"
NOT_IN_DOUBLE_QUOTES_OF_POWERSHELL = re.compile(rf"[$`{DOUBLE}]")
VARIABLE_OF_CMD = re.compile(r"%[^%=\d][^%=]*%")
START, MIDDLE, END = "\ue000", "\ue001", "\ue002"  # of a marked word: its forms for cmd and for PowerShell
MARKED = re.compile(f"{START}([^{MIDDLE}]*){MIDDLE}([^{END}]*){END}")


def for_sh(word: str) -> str:
    """Quote a word for sh, bash and zsh."""
    return shlex.quote(word) if NOT_IN_DOUBLE_QUOTES_OF_SH.search(word) else f'"{word}"'


def for_cmd(word: str) -> str:
    """Quote a word for a line that is typed in cmd. Raises ValueError for a quotation mark, which no path on Windows has.

    Percent signs stand outside of quotes: `"a"%"OS"%"b"` is a%OS%b, because no variable is called "OS" with its quotes.
    """
    _refuse(word)
    parts = re.split("(%)", word) if VARIABLE_OF_CMD.search(word) else [word]
    return "".join(part if part == "%" else _in_double_quotes(part) for part in parts if part)


def for_powershell(word: str) -> str:
    """Quote a word for PowerShell. Raises ValueError for a quotation mark, which no path on Windows has."""
    _refuse(word)
    if not NOT_IN_DOUBLE_QUOTES_OF_POWERSHELL.search(word):
        return _in_double_quotes(word)
    return "'" + re.sub(f"([{SINGLE}])", r"\1\1", word) + "'"


def quoted(word: str, *, windows: bool, bare: bool = False) -> str:
    """Quote a word for sh or, on Windows, for cmd and PowerShell. A word for which these two differ is marked.

    Args:
        bare: whether a word stays as it is if it needs no quotes.
    """
    if bare and (PLAIN if windows else PLAIN_IN_SH).fullmatch(word):
        return word
    if not windows:
        return shlex.quote(word) if bare else for_sh(word)
    cmd, powershell = for_cmd(word), for_powershell(word)
    return cmd if cmd == powershell else f"{START}{cmd}{MIDDLE}{powershell}{END}"


def each_shell(command: str) -> tuple[str, ...]:
    """Return the command; with a marked word, the command for cmd and the one for PowerShell."""
    if START not in command:
        return (command,)
    return MARKED.sub(r"\1", command) + "  & rem in cmd", MARKED.sub(r"\2", command) + "  # in PowerShell"


def each_command(commands: Iterable[str]) -> Iterator[str]:
    """Return the commands, each for each shell."""
    for command in commands:
        yield from each_shell(command)


def in_text(text: str) -> str:
    """Return a text that contains a command, as a sentence for each shell if they differ."""
    return " - ".join(each_shell(text))


def for_this_system(word: str) -> str:
    """Quote a word of a command for this system. If cmd and PowerShell differ, both forms are given."""
    cmd = quoted(word, windows=os.name == "nt")
    found = MARKED.fullmatch(cmd)
    return f"{found[1]} (in PowerShell: {found[2]})" if found else cmd


def _in_double_quotes(text: str) -> str:
    """Programs read backslashes before a quotation mark as half as many."""
    backslashes = len(text) - len(text.rstrip("\\"))
    return f'"{text}{backslashes * chr(92)}"'


def _refuse(word: str) -> None:
    if '"' in word:
        raise ValueError(f"cannot be quoted on Windows: {word}")
