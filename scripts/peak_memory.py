"""The most memory that this process takes while something runs."""

from __future__ import annotations

import ctypes
import sys
import threading

import psutil


def return_free_memory() -> None:
    """Have the C library give back what earlier work has left, which would hide what later work takes."""
    if sys.platform == "linux":
        ctypes.CDLL(None).malloc_trim(0)


class highest_memory:  # noqa: N801
    """Watches this process' memory: `rise` is the most bytes it had above those at the start."""

    def __enter__(self) -> highest_memory:
        self._process, self._done, self.rise = psutil.Process(), threading.Event(), 0
        self._start = self._process.memory_info().rss
        self._watch = threading.Thread(target=self._look)
        self._watch.start()
        return self

    def _look(self) -> None:
        while not self._done.wait(0.0005):
            self.rise = max(self.rise, self._process.memory_info().rss - self._start)

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._watch.join()
