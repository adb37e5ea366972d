"""Stopping a run from the keyboard: the first request ends it after the step in hand, the second now."""

from __future__ import annotations

import signal
from types import FrameType, TracebackType

from trainer.progress import Say

# Ctrl-C everywhere; Ctrl-Break on Windows.
SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGBREAK") if hasattr(signal, name)]


class StopRequest:
    """While entered, `requested` turns true on Ctrl-C; a second one raises KeyboardInterrupt."""

    def __init__(self, say: Say) -> None:
        self.requested = False
        self._say = say

    def __enter__(self) -> StopRequest:
        self._before = {number: signal.signal(number, self._handle) for number in SIGNALS}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.requested:
            raise KeyboardInterrupt
        self.requested = True
        self._say("Stopping after this step, with a checkpoint. Press again to stop now, without one.")
