"""Until when a probe's programs may run, so that it can say in time which of them did not answer."""

from __future__ import annotations

import math
import time
from contextvars import ContextVar

_ends_at: ContextVar[float] = ContextVar("ends_at", default=math.inf)  # by time.monotonic()


def end_programs_after(seconds: float) -> None:
    """Whatever this thread starts from now on ends within so many seconds altogether."""
    _ends_at.set(time.monotonic() + seconds)


def in_time(seconds: float) -> float:
    """`seconds`, or what is left of them before the deadline; at least 0."""
    return max(0.0, min(seconds, _ends_at.get() - time.monotonic()))
