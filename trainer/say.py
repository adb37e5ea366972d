"""How the trainer tells a person something while it works."""

from __future__ import annotations

from collections.abc import Callable

Say = Callable[[str], None]  # one line, without a line break
