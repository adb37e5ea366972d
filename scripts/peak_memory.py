"""The peak memory of this process while something runs."""

from __future__ import annotations

import ctypes
import sys
import threading

import psutil


def return_free_memory() -> None:
    """Make the C library return freed memory to the system: reusing it would hide a later peak."""
    if sys.platform == "linux":
        ctypes.CDLL(None).malloc_trim(0)


class highest_memory:  # noqa: N801
    """A context manager that watches the memory of this process. `rise` is its peak above the start, in bytes."""

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
