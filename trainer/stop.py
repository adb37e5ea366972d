"""Requests to stop a run: Ctrl-C, a signal, or a stop file. The run finishes its current step; a second signal ends it at once."""

from __future__ import annotations

import signal
from pathlib import Path
from types import FrameType, TracebackType

from trainer.errors import UserError
from trainer.say import Say

# Ctrl-C and the signal of service managers; Ctrl-Break exists on Windows only; Slurm sends SIGUSR1 before the time limit
# if it is asked to (sbatch --signal).
NAMES = ("SIGINT", "SIGTERM", "SIGBREAK", "SIGUSR1")
SIGNALS = [getattr(signal, name) for name in NAMES if hasattr(signal, name)]


class StopRequest:
    """While entered, a signal or the stop file sets `requested`. A second signal raises KeyboardInterrupt.

    Args:
        file: the stop file, deleted on exit.

    Raises:
        UserError: the file already exists.
    """

    def __init__(self, say: Say, file: Path | None = None) -> None:
        self.reason: str | None = None
        self._say = say
        self._file = file
        if file and file.exists():
            raise UserError(
                f"The stop file {file.absolute()} already exists, so the run would stop at its first step. Delete it, or name "
                "another with training.stop_file (--stop-file)."
            )

    @property
    def requested(self) -> bool:
        if self.reason is None and self._file and self._file.exists():
            self.request(f"found the stop file {self._file.absolute()}")
        return self.reason is not None

    def request(self, reason: str) -> None:
        """Stop after the current step, with a checkpoint."""
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
        self.request(
            f"received {signal.Signals(number).name} (a second one stops at once, without a checkpoint)"
        )
