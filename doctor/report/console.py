"""Console output: coloured and wrapped on a terminal, in ASCII if the stream cannot encode more."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TextIO, TypeAlias

from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.text import Text

from doctor.models import Status
from doctor.report.wrapping import pieces, wrapped
from doctor.started_as import as_started
from doctor.visible import visible

Part: TypeAlias = str | tuple[str, str]  # plain text, or text and its style
NARROW_INDENT = 6  # cells
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
    """The sign of each status, the arrow before what to do, and the ellipsis of a cut line."""

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
    """Prints text without interpreting markup; characters that the stream cannot encode are escaped."""

    def __init__(self, file: TextIO, ascii_only: bool = False, width: int | None = None) -> None:
        """`width`: cells per line; None: the width of the terminal, or no limit if `file` is not a terminal."""
        self.console = Console(file=file, markup=False, highlight=False, emoji=False, soft_wrap=True)
        self.encoding = "ascii" if ascii_only else (getattr(file, "encoding", None) or "utf-8")
        self.glyphs = UNICODE if self._can_show(UNICODE) else ASCII
        self._width = width or (self.console.width if file.isatty() else None)

    def line(self, *parts: Part, commands: Sequence[str] = ()) -> None:
        """Print one line without wrapping it, with `commands` highlighted."""
        text = Text()
        for part in parts:
            plain, style = part if isinstance(part, tuple) else (part, "")
            text.append(self._safe(plain), style or None)
        if commands:
            text.highlight_words([self._safe(command) for command in commands], COMMAND)
        self.console.print(text)

    def paragraph(self, lead: Sequence[Part], part: Part, *commands: str) -> None:
        """Print `part` after `lead`; on a terminal, wrap it, with the following lines indented below its start.

        If a path or a command is too long for that, the indent is narrower.
        """
        plain, style = part if isinstance(part, tuple) else (part, "")
        lines, indent = [self._safe(plain)], self._cells(lead)
        if self._width:
            width = self._width - 1  # older consoles wrap a full line
            unbroken = pieces(lines[0], [self._safe(command) for command in commands])
            first, longest = width - indent, max(map(cell_len, unbroken), default=0)
            indent = indent if longest <= first else min(indent, NARROW_INDENT)
            lines = wrapped(unbroken, first, width - indent)
        self.line(*lead, (lines[0], style), commands=commands)
        for following in lines[1:]:
            self.line(" " * indent, (following, style), commands=commands)

    def sentence(self, text: str, *commands: str) -> None:
        """Print a sentence; on a terminal, wrap it between words. The `commands` in it stay whole."""
        self.paragraph((), text, *commands)

    def todo(self, indent: str, sentence: str, commands: Sequence[str]) -> None:
        """Print what to do: a single command at the end of the sentence, several on a line each."""
        arrow = (indent, f"{self.glyphs.arrow} ")
        if len(commands) == 1:
            self.paragraph(arrow, ": ".join(filter(None, (sentence, *commands))), *commands)
        elif sentence or commands:
            self.paragraph(arrow, f"{sentence or 'Run'}:" if commands else sentence)
            for command in commands:
                self.line(indent, "  ", command, commands=[command])

    def cut_line(self, lead: Sequence[Part], text: str) -> None:
        """Print `text` after `lead`; on a terminal, cut it to one line."""
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
        """Text as it is printed: aios commands as they were started, control and unencodable characters escaped."""
        return visible(as_started(text)).encode(self.encoding, "backslashreplace").decode(self.encoding)
