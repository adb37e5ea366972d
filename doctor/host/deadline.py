"""The deadline of the programs that a probe runs, so that it can still report which of them did not answer."""

from __future__ import annotations

import math
import time
from contextvars import ContextVar

_ends_at: ContextVar[float] = ContextVar("ends_at", default=math.inf)  # on the clock of time.monotonic()


def set_deadline(seconds: float) -> None:
    """Limit all programs that this thread starts from now on to `seconds` in total."""
    _ends_at.set(time.monotonic() + seconds)


def limited(seconds: float) -> float:
    """Return `seconds`, or the time until the deadline if that is less; at least 0."""
    return max(0.0, min(seconds, _ends_at.get() - time.monotonic()))
