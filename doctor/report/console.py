"""Lines for a person at a console: coloured and wrapped on a terminal, in ASCII where the stream knows no more."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TextIO, TypeAlias

from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.text import Text

from doctor.models import Status
from doctor.report.wrapping import wrapped

Part: TypeAlias = str | tuple[str, str]  # plain, or with a style
NARROWEST = 20  # cells; a column that is narrower is left to the terminal to wrap

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

    def line(self, *parts: Part) -> None:
        """Print one line, however long it is."""
        text = Text()
        for part in parts:
            plain, style = part if isinstance(part, tuple) else (part, "")
            text.append(self._safe(plain), style or None)
        self.console.print(text)

    def paragraph(self, lead: Sequence[Part], part: Part, *whole: str) -> None:
        """Print `part` behind `lead`; on a terminal on as many lines as it takes, below where it began.

        What it holds of `whole` is not broken.
        """
        plain, style = part if isinstance(part, tuple) else (part, "")
        indent = self._cells(lead)
        first, *following = [self._safe(plain)]
        if self._width and self._width - indent > NARROWEST:
            room = self._width - indent - 1  # an old console breaks a line that is full
            first, *following = wrapped(first, room, [self._safe(piece) for piece in whole])
        self.line(*lead, (first, style))
        for line in following:
            self.line(" " * indent, (line, style))

    def cut_line(self, lead: Sequence[Part], text: str) -> None:
        """Print `text` behind `lead`; on a terminal as much of it as fits on one line."""
        text = self._safe(text)
        room = (self._width or 0) - self._cells(lead) - 1
        if self._width and cell_len(text) > room > NARROWEST:
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
