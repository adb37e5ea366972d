"""How a program ended, in words for a finding."""

from __future__ import annotations

from doctor.host.base import Completed

CRASH = 0x80000000  # from here on Windows' exit codes are crashes; on Linux the negative ones are signals


def crashed(completed: Completed) -> bool:
    return completed.exit_code >= CRASH or completed.exit_code < 0


def exit_code(completed: Completed) -> str:
    """ "1", "0xc0000005"."""
    return f"{completed.exit_code:#x}" if completed.exit_code >= CRASH else str(completed.exit_code)


def _line(text: str, number: int) -> str:
    lines = text.strip().splitlines() or [""]
    return "".join(letter if letter.isprintable() else "?" for letter in lines[number])[:200]


def first_words(completed: Completed) -> str:
    """The first line of what it printed, on whichever stream."""
    return _line(completed.stdout, 0) or _line(completed.stderr, 0)


def last_words(completed: Completed) -> str:
    """The last line on its standard error: where Python and most programs name the error."""
    return _line(completed.stderr, -1)
