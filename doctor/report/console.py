"""Lines for a person at a console: coloured and wrapped on a terminal, in ASCII where the stream knows no more."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TextIO, TypeAlias

from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.text import Text

from doctor.models import Status
from doctor.report.wrapping import pieces, wrapped

Part: TypeAlias = str | tuple[str, str]  # plain, or with a style
FURTHER_LEFT = 6  # cells
COMMAND = "cyan"

COLOURS: dict[Status, str] = {
    "ok": "green",
    "info": "cyan",
    "warning": "yellow",
    "error": "bold red",
    "skipped": "dim",
    "unknown": "magenta",
}


@dataclass(frozen=True)
class Glyphs:
    """The signs of the statuses, the arrow before what to do, and what stands for the rest of a line."""

    status: Mapping[Status, str]
    arrow: str
    rest: str


UNICODE = Glyphs(
    {"ok": "✓", "info": "•", "warning": "!", "error": "✗", "skipped": "·", "unknown": "?"}, "→", "…"
)
ASCII = Glyphs(
    {"ok": "+", "info": "i", "warning": "!", "error": "x", "skipped": "-", "unknown": "?"}, "->", "..."
)


class Printer:
    """Prints text as it is: no markup, and nothing that the stream's encoding lacks."""

    def __init__(self, file: TextIO, ascii_only: bool = False, width: int | None = None) -> None:
        """`width` in cells is that of the terminal, if `file` is one; else lines are as long as they are."""
        self.console = Console(file=file, markup=False, highlight=False, emoji=False, soft_wrap=True)
        self.encoding = "ascii" if ascii_only else (getattr(file, "encoding", None) or "utf-8")
        self.glyphs = UNICODE if self._can_show(UNICODE) else ASCII
        self._width = width or (self.console.width if file.isatty() else None)

    def line(self, *parts: Part, commands: Sequence[str] = ()) -> None:
        """Print one line, however long it is, with what is to be typed set off."""
        text = Text()
        for part in parts:
            plain, style = part if isinstance(part, tuple) else (part, "")
            text.append(self._safe(plain), style or None)
        if commands:
            text.highlight_words([self._safe(command) for command in commands], COMMAND)
        self.console.print(text)

    def paragraph(self, lead: Sequence[Part], part: Part, *commands: str) -> None:
        """Print `part` behind `lead`; on a terminal on as many lines as it takes, below where it began.

        Where a path or a command is too long for that, they begin further to the left.
        """
        plain, style = part if isinstance(part, tuple) else (part, "")
        lines, indent = [self._safe(plain)], self._cells(lead)
        if self._width:
            width = self._width - 1  # an old console breaks a line that is full
            unbroken = pieces(lines[0], [self._safe(command) for command in commands])
            first, longest = width - indent, max(map(cell_len, unbroken), default=0)
            indent = indent if longest <= first else min(indent, FURTHER_LEFT)
            lines = wrapped(unbroken, first, width - indent)
        self.line(*lead, (lines[0], style), commands=commands)
        for following in lines[1:]:
            self.line(" " * indent, (following, style), commands=commands)

    def todo(self, indent: str, sentence: str, commands: Sequence[str]) -> None:
        """Print what to do. One command ends the sentence; several have a line each, as they are to be typed."""
        arrow = (indent, f"{self.glyphs.arrow} ")
        if len(commands) == 1:
            self.paragraph(arrow, ": ".join(filter(None, (sentence, *commands))), *commands)
        elif sentence or commands:
            self.paragraph(arrow, f"{sentence or 'Type'}:" if commands else sentence)
            for command in commands:
                self.line(indent, "  ", command, commands=[command])

    def cut_line(self, lead: Sequence[Part], text: str) -> None:
        """Print `text` behind `lead`; on a terminal as much of it as fits on one line."""
        text = self._safe(text)
        room = (self._width or 0) - self._cells(lead) - 1
        if self._width and cell_len(text) > room > len(self.glyphs.rest):
            text = set_cell_size(text, room - len(self.glyphs.rest)).rstrip() + self.glyphs.rest
        self.line(*lead, text)

    def _cells(self, parts: Sequence[Part]) -> int:
        return sum(cell_len(self._safe(part if isinstance(part, str) else part[0])) for part in parts)

    def _can_show(self, glyphs: Glyphs) -> bool:
        try:
            "".join((*glyphs.status.values(), glyphs.arrow, glyphs.rest)).encode(self.encoding)
        except UnicodeEncodeError:
            return False
        return True

    def _safe(self, text: str) -> str:
        """Control characters (a machine's text may hold escape sequences) and unknown letters become `\\x..`."""
        visible = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
        return visible.encode(self.encoding, "backslashreplace").decode(self.encoding)
