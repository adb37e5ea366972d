"""A question to the system that may never be answered: a drive whose server is gone, a name server that is silent."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from typing import TypeVar

from doctor.host.deadline import in_time
from doctor.host.readings import Reading, Unreadable

T = TypeVar("T")


def within(seconds: float, look: Callable[[], Reading[T]]) -> Reading[T]:
    """The answer of `look`, which may raise OSError and ValueError; Unreadable where it takes longer than that, or
    than its probe has left.

    It asks in a thread that is left behind where there is no answer: nothing can end a call into the system.
    """
    answers: queue.SimpleQueue[Reading[T]] = queue.SimpleQueue()

    def ask() -> None:
        try:
            answers.put(look())
        except (OSError, ValueError) as error:
            answers.put(Unreadable.because(error))

    threading.Thread(target=ask, daemon=True).start()
    try:
        return answers.get(timeout=in_time(seconds))
    except queue.Empty:
        return Unreadable(f"no answer within {seconds:g} s")
