"""Wrap text between words, but not inside a path, a quotation or a command."""

from __future__ import annotations

import re
from collections.abc import Sequence

from rich.cells import cell_len

# A Windows path may contain spaces: match up to its last backslash, with at most four words between two backslashes.
PATH = r"[A-Za-z]:\\(?:[^\\\s:;,\"]+(?: [^\\\s:;,\"]+){0,3}\\)*\S*"
PIECE = rf"[(\[]?(?:\"[^\"]*\"|`[^`]*`|{PATH})[^\s\"]*|\S+"


def pieces(text: str, whole: Sequence[str] = ()) -> list[str]:
    """The unbreakable parts of `text`, in order. Each text in `whole` is one part."""
    pattern = "|".join([*(rf"{re.escape(piece)}\S*" for piece in whole), PIECE])
    found: list[str] = re.findall(pattern, text)
    return found


def wrapped(pieces: Sequence[str], first: int, following: int) -> list[str]:
    """Lines of at most `first` cells, then `following` cells. A longer piece gets a line of its own."""
    lines = [""]
    for piece in pieces:
        room = following if len(lines) > 1 else first
        if lines[-1] and cell_len(lines[-1]) + 1 + cell_len(piece) > room:
            lines.append("")
        lines[-1] += f" {piece}" if lines[-1] else piece
    return lines
