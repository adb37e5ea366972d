"""Where a line may be broken: between words, and not inside of a path, a quotation or a command."""

from __future__ import annotations

import re
from collections.abc import Sequence

from rich.cells import cell_len

# A Windows path may hold spaces: it goes on to its last backslash, unless four words or punctuation lie before that.
PATH = r"[A-Za-z]:\\(?:[^\\\s:;,\"]+(?: [^\\\s:;,\"]+){0,3}\\)*\S*"
PIECE = rf"[(\[]?(?:\"[^\"]*\"|{PATH})[^\s\"]*|\S+"


def wrapped(text: str, width: int, whole: Sequence[str] = ()) -> list[str]:
    """Lines of at most `width` cells. A piece that is longer has a line to itself; so has one of `whole`, if need be."""
    pieces = re.compile("|".join([*(rf"{re.escape(piece)}\S*" for piece in whole), PIECE]))
    lines = [""]
    for piece in pieces.findall(text):
        if lines[-1] and cell_len(lines[-1]) + 1 + cell_len(piece) > width:
            lines.append("")
        lines[-1] += f" {piece}" if lines[-1] else piece
    return lines
