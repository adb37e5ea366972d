"""Where a line may be broken: between words, and not inside of a path, a quotation or a command."""

from __future__ import annotations

import re
from collections.abc import Sequence

from rich.cells import cell_len

# A Windows path may hold spaces: it goes on to its last backslash, unless four words or punctuation lie before that.
PATH = r"[A-Za-z]:\\(?:[^\\\s:;,\"]+(?: [^\\\s:;,\"]+){0,3}\\)*\S*"
PIECE = rf"[(\[]?(?:\"[^\"]*\"|`[^`]*`|{PATH})[^\s\"]*|\S+"


def pieces(text: str, whole: Sequence[str] = ()) -> list[str]:
    """What is not broken, in order; each of `whole` is one of them."""
    pattern = "|".join([*(rf"{re.escape(piece)}\S*" for piece in whole), PIECE])
    found: list[str] = re.findall(pattern, text)
    return found


def wrapped(pieces: Sequence[str], first: int, following: int) -> list[str]:
    """Lines of at most `first` cells, then of `following`. A longer piece has a line to itself."""
    lines = [""]
    for piece in pieces:
        room = following if len(lines) > 1 else first
        if lines[-1] and cell_len(lines[-1]) + 1 + cell_len(piece) > room:
            lines.append("")
        lines[-1] += f" {piece}" if lines[-1] else piece
    return lines
