"""How a program ended, as text for a finding."""

from __future__ import annotations

from doctor.host.base import Completed

# Exit codes from here on are crashes on Windows; negative ones are signals on Linux
CRASH = 0x80000000


def crashed(completed: Completed) -> bool:
    """Whether the program crashed."""
    return completed.exit_code >= CRASH or completed.exit_code < 0


def exit_code(completed: Completed) -> str:
    """The exit code as text: "1", "0xc0000005"."""
    return f"{completed.exit_code:#x}" if completed.exit_code >= CRASH else str(completed.exit_code)


def _line(text: str, number: int) -> str:
    lines = text.strip().splitlines() or [""]
    return "".join(letter if letter.isprintable() else "?" for letter in lines[number])[:200]


def first_line(completed: Completed) -> str:
    """The first line of its output, or of its errors if it has no output."""
    return _line(completed.stdout, 0) or _line(completed.stderr, 0)


def last_error_line(completed: Completed) -> str:
    """The last line on stderr, where Python and most programs state the error."""
    return _line(completed.stderr, -1)
