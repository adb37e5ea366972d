"""How `aios` was started, so that the commands in its texts work as printed where `aios` is not on PATH."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass
class StartedAs:
    """The command line that starts aios, and the pattern of the commands in texts."""

    command: str = "aios"
    pattern: re.Pattern[str] | None = None


_STARTED = StartedAs()


def set_command(command: str, subcommands: Sequence[str]) -> None:
    """Set how this process was started. `command`: quoted for a terminal; plain `aios` if that is on PATH."""
    names = "|".join(map(re.escape, subcommands))
    _STARTED.command = command
    _STARTED.pattern = (
        None if command == "aios" else re.compile(rf"(?<![\w/\\.-])aios(?= (?:(?:{names})\b|--?\w))")
    )


def as_started(text: str) -> str:
    """Return a text with its `aios` commands as this process was started."""
    pattern = _STARTED.pattern
    return text if pattern is None else pattern.sub(lambda _: _STARTED.command, text)
