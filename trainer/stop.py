"""Asking a run to stop: from the keyboard, by the system, or by a file. It ends after the step in hand; asked again, now."""

from __future__ import annotations

import signal
from pathlib import Path
from types import FrameType, TracebackType

from trainer.errors import UserError
from trainer.say import Say

# Ctrl-C and what a service manager sends everywhere; Ctrl-Break on Windows.
SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGBREAK") if hasattr(signal, name)]


class StopRequest:
    """While entered, `requested` turns true when a signal or the stop file comes; a second signal raises KeyboardInterrupt.

    Args:
        file: the run stops when there is one; its request granted, it is deleted.

    Raises:
        UserError: the file is there before the run is.
    """

    def __init__(self, say: Say, file: Path | None = None) -> None:
        self.reason: str | None = None
        self._say = say
        self._file = file
        if file and file.exists():
            raise UserError(
                f"The stop file {file.absolute()} is there already: the run would end at its first step. Delete it, or "
                "name another with training.stop_file (--stop-file)."
            )

    @property
    def requested(self) -> bool:
        if self.reason is None and self._file and self._file.exists():
            self.request(f"there is a stop file, {self._file.absolute()}")
        return self.reason is not None

    def request(self, reason: str) -> None:
        """Stop after this step, with a checkpoint."""
        self.reason = reason
        self._say(f"Stopping after this step, with a checkpoint: {reason}.")

    def __enter__(self) -> StopRequest:
        self._before = {number: signal.signal(number, self._handle) for number in SIGNALS}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        if self._file:
            self._file.unlink(missing_ok=True)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.reason is not None:
            raise KeyboardInterrupt
        self.request(f"{signal.Signals(number).name} was sent (again: stop now, without a checkpoint)")
