"""Lines of text as they are shown: escaped, with commands as aios was started, wrapped on a terminal."""

from __future__ import annotations

from doctor.report.wrapping import pieces, wrapped
from doctor.started_as import as_started
from doctor.visible import visible_lines

NARROWEST = 20  # columns


def shown(text: str, width: int | None) -> str:
    """Return a text for the screen.

    Args:
        width: columns of the terminal; None: not a terminal, so lines are not wrapped.
    """
    text = visible_lines(as_started(text))
    if not width or width < NARROWEST:
        return text
    return "\n".join(line for each in text.split("\n") for line in _wrapped(each, width - 1))


def _wrapped(line: str, width: int) -> list[str]:
    """The lines of one line. An indented line, such as a command to copy, stays whole."""
    if len(line) <= width or line.startswith(" "):
        return [line]
    return wrapped(pieces(line), width, width)
