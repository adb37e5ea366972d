"""The text of a log, in any encoding, with colours, progress bars and very long lines."""

from __future__ import annotations

import codecs
import re
from bisect import bisect_left
from dataclasses import dataclass
from functools import cached_property

WIDTH = 4_000  # characters of a line that are searched, on each side of a place
UTF_16 = {codecs.BOM_UTF16_LE: "utf-16-le", codecs.BOM_UTF16_BE: "utf-16-be"}
# Colours, cursor movements, and titles and links (which end with a bell or ESC \)
ESCAPE_SEQUENCE = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b\n]*(?:\x07|\x1b\\)?|[ -/]*[0-Z\\^-~])")


@dataclass(frozen=True)
class Log:
    """A log as text. A place is an index into `text`; lines are numbered from 1, as in editors."""

    text: str

    @cached_property
    def _line_ends(self) -> list[int]:
        return [match.start() for match in re.finditer("\n", self.text)]

    def line_number(self, place: int) -> int:
        """The number of the line that contains `place`."""
        return bisect_left(self._line_ends, place) + 1

    def line(self, place: int) -> tuple[int, int]:
        """The start and the end of the line around `place`, at most WIDTH characters to each side.

        A carriage return ends a line, too: each state of a progress bar is a line.
        """
        low, high = max(place - WIDTH, 0), min(place + WIDTH, len(self.text))
        start = max(self.text.rfind("\n", low, place), self.text.rfind("\r", low, place)) + 1
        ends = [end for end in (self.text.find(c, place, high) for c in "\n\r") if end >= 0]
        return start or low, min(ends, default=high)

    def around(self, place: int, before: int, after: int) -> tuple[int, int]:
        """The start and the end of the line of `place` with `before` lines before and `after` lines after it; bounded, too."""
        ends, index = self._line_ends, self.line_number(place) - 1
        start = ends[index - before - 1] + 1 if index > before else 0
        end = ends[index + after] if index + after < len(ends) else len(self.text)
        return max(start, place - 5 * WIDTH), min(end, place + 5 * WIDTH)


def read(data: bytes) -> Log:
    """Decode a log.

    UTF-8 and UTF-16 are recognized by their byte order marks or zero bytes (PowerShell writes UTF-16). Anything else is in
    a legacy code page. Its ASCII characters stay readable, and the patterns of failures are ASCII.
    """
    encoding = UTF_16.get(data[:2])
    if encoding:
        text = data[2:].decode(encoding, "backslashreplace")
    else:
        text = data.removeprefix(codecs.BOM_UTF8).replace(b"\0", b"").decode("utf-8", "backslashreplace")
    return Log(ESCAPE_SEQUENCE.sub("", text) if "\x1b" in text else text)


def shown(text: str, place: int, width: int = 240) -> str:
    """`text` with control characters escaped, cut to `width` characters around `place`."""
    start = max(0, min(place - width // 3, len(text) - width))
    part = text[start : start + width]
    part = f"{'...' if start else ''}{part}{'...' if start + width < len(text) else ''}".strip()
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in part)
