"""A time limit for system calls that may never return, such as a network drive without a server."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from typing import TypeVar

from doctor.host.deadline import limited
from doctor.host.readings import Reading, Unreadable

T = TypeVar("T")


def with_time_limit(seconds: float, read: Callable[[], Reading[T]]) -> Reading[T]:
    """Return what `read` returns, or Unreadable if it takes longer than `seconds` or than the deadline of its probe.

    `read` may raise OSError and ValueError. It runs in a thread that is abandoned after a timeout, because a blocked system
    call cannot be cancelled.
    """
    readings: queue.SimpleQueue[Reading[T]] = queue.SimpleQueue()

    def run() -> None:
        try:
            readings.put(read())
        except (OSError, ValueError) as error:
            readings.put(Unreadable.because(error))

    threading.Thread(target=run, daemon=True).start()
    try:
        return readings.get(timeout=limited(seconds))
    except queue.Empty:
        return Unreadable(f"no answer within {seconds:g} s")
