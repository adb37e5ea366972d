"""The text of a log, in any encoding, with colours, progress bars and very long lines."""

from __future__ import annotations

import codecs
import io
import re
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import BinaryIO

WIDTH = 4_000  # characters of a line that are searched, on each side of a place
NEAR = 5 * WIDTH  # characters that count as near, at most
MARGIN = NEAR + 2 * WIDTH  # characters that two pieces of a log share, on each side of where they meet
PIECE = 2**18  # bytes that are read at a time: they fit into the processor's cache
LONGEST_SEQUENCE = 200  # characters of an escape sequence that may continue in the next piece
UTF_16 = {codecs.BOM_UTF16_LE: "utf-16-le", codecs.BOM_UTF16_BE: "utf-16-be"}
# Colours, cursor movements, and titles and links (which end with a bell or ESC \)
ESCAPE_SEQUENCE = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b\n]*(?:\x07|\x1b\\)?|[ -/]*[0-Z\\^-~])")
WINDOWS_PATH = re.compile(r"\b[A-Za-z]:\\")
OS_ERROR = re.compile(r"\(os error (\d+)\)")  # Rust's words, as in uv


@dataclass(frozen=True)
class Log:
    """A log as text, or a piece of one. A place is an index into `text`; lines are numbered from 1, as in editors.

    Attributes:
        start: symptoms are searched from here to `end`; the rest is context.
        first_line: the number of the first line of `text`.
        offset: the place of `text` in the whole log.
    """

    text: str
    start: int = 0
    end: int | None = None
    first_line: int = 1
    offset: int = 0

    @cached_property
    def stop(self) -> int:
        return len(self.text) if self.end is None else self.end

    @cached_property
    def searched(self) -> str:
        """`text` with uv's `(os error 5)` written as `[WinError 5]`, which is as long, where it comes from Windows."""
        if "(os error " in self.text and WINDOWS_PATH.search(self.text):
            return OS_ERROR.sub(r"[WinError \1]", self.text)
        return self.text

    @cached_property
    def _line_ends(self) -> list[int]:
        return [match.start() for match in re.finditer("\n", self.text)]

    @cached_property
    def _has_returns(self) -> bool:
        return "\r" in self.text

    def line_number(self, place: int) -> int:
        """The number of the line that contains `place`."""
        return bisect_left(self._line_ends, place) + self.first_line

    def line(self, place: int) -> tuple[int, int]:
        """The start and the end of the line around `place`, at most WIDTH characters to each side.

        A carriage return ends a line, too: each state of a progress bar is a line.
        """
        low, high = max(place - WIDTH, 0), min(place + WIDTH, len(self.text))
        start = max(self.text.rfind("\n", low, place) + 1, low)
        end = self.text.find("\n", place, high)
        end = high if end < 0 else end
        if self._has_returns:
            start = max(self.text.rfind("\r", start, place) + 1, start)
            back = self.text.find("\r", place, end)
            end = end if back < 0 else back
        return start, end

    def around(self, place: int, before: int, after: int) -> tuple[int, int]:
        """The start and the end of the line of `place` with `before` lines before and `after` lines after it, within NEAR."""
        ends, index = self._line_ends, self.line_number(place) - self.first_line
        start = ends[index - before - 1] + 1 if index > before else 0
        end = ends[index + after] if index + after < len(ends) else len(self.text)
        return max(start, place - NEAR), min(end, place + NEAR)


def read(data: bytes) -> Log:
    """Decode a log."""
    return Log("".join(_texts(io.BytesIO(data))))


def pieces(stream: BinaryIO) -> Iterator[Log]:
    """Read a log in pieces of bounded size, each with MARGIN characters of context before and after it."""
    text, start, first_line, offset = "", 0, 1, 0
    for more in _texts(stream):
        text += more
        limit = len(text) - MARGIN
        if limit <= start:
            continue
        cut = text.rfind("\n", start, limit) + 1 or limit
        yield Log(text, start, cut, first_line, offset)
        kept = max(cut - MARGIN, 0)
        first_line += text.count("\n", 0, kept)
        text, start, offset = text[kept:], cut - kept, offset + kept
    yield Log(text, start, None, first_line, offset)


def _texts(stream: BinaryIO) -> Iterator[str]:
    """Decode `stream`, piece by piece, and remove escape sequences.

    UTF-8 and UTF-16 are recognized by their byte order marks or zero bytes (PowerShell writes UTF-16). Anything else is in
    a legacy code page. Its ASCII characters stay readable, and the patterns of failures are ASCII.
    """
    first = stream.read(PIECE)
    encoding = UTF_16.get(first[:2])
    data = first[2:] if encoding else first.removeprefix(codecs.BOM_UTF8)
    decoder = codecs.getincrementaldecoder(encoding or "utf-8")("backslashreplace")
    held = ""
    while data or held:
        final = not data
        text = held + decoder.decode(data if encoding else data.replace(b"\0", b""), final)
        cut = -1 if final else text.rfind("\x1b", len(text) - LONGEST_SEQUENCE)
        text, held = (text[:cut], text[cut:]) if cut >= 0 else (text, "")
        yield ESCAPE_SEQUENCE.sub("", text) if "\x1b" in text else text
        data = b"" if final else stream.read(PIECE)


def shown(text: str, place: int, width: int = 240) -> str:
    """`text` with control characters escaped, cut to `width` characters around `place`."""
    start = max(0, min(place - width // 3, len(text) - width))
    part = text[start : start + width]
    part = f"{'...' if start else ''}{part}{'...' if start + width < len(text) else ''}".strip()
    if part.isprintable():
        return part
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in part)
