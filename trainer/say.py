"""The type of functions that print a message to the user."""

from __future__ import annotations

from collections.abc import Callable

Say = Callable[[str], None]  # takes one line, without a line break
