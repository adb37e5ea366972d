"""A process that hangs is found, and the one that did not arrive is named."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from trainer.distributed import heartbeat
from trainer.distributed.heartbeat import SAVES, Heartbeat, Sign, report

NAMES = ("rank 0 on a", "rank 1 on b", "rank 2 on b")


class MemoryStore:
    """torchrun's store, in memory."""

    def __init__(self) -> None:
        self.values: dict[str, bytes] = {}
        self._lock = threading.Lock()

    def set(self, key: str, value: str) -> None:
        self.values[key] = value.encode()

    def get(self, key: str) -> bytes:
        return self.values[key]

    def check(self, keys: list[str]) -> bool:
        return all(key in self.values for key in keys)

    def add(self, key: str, amount: int) -> int:
        with self._lock:
            self.values[key] = str(int(self.values.get(key, b"0")) + amount).encode()
            return int(self.values[key])


def sign(count: int, doing: str = "computes") -> Sign:
    return Sign(7, count, doing, "loop.py:90 train", 1.0, 0.0)


def test_the_process_that_gives_no_sign_of_life_is_named() -> None:
    text = report(NAMES, [sign(9), sign(9), sign(8)], {0: 1.0, 1: 40.0, 2: 2.0}, 60, 15)
    assert "rank 1 on b has not responded for 40 s; it was in step 7 and computes (loop.py:90 train)" in text
    assert "rank 2" not in text
    assert "--resume" in text


def test_otherwise_the_process_that_has_come_least_far_is_named() -> None:
    signs = [sign(9), sign(9), sign(7, "reads its samples")]
    text = report(NAMES, signs, dict.fromkeys(range(3), 0.0), 60, 15)
    assert "No progress for 60 s: rank 2 on b has not arrived; it is in step 7 and reads its samples" in text
    assert "rank 0" not in text


def test_processes_that_have_come_equally_far_are_all_shown() -> None:
    text = report(NAMES, [sign(9)] * 3, {}, 60, 15)
    assert all(f"{name} is in step 7" in text for name in NAMES)
    assert "rank 1 on b has never reported" in report(NAMES, [sign(9), None, sign(9)], {}, 60, 15)


def test_a_process_that_waits_ends_and_one_of_them_reports(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three processes as threads: the last one is stuck, the others wait for it."""
    monkeypatch.setattr(heartbeat, "LONGEST", 0.4)
    store = MemoryStore()
    said: list[str] = []
    ended: list[tuple[int, int]] = []

    def end_of(rank: int) -> Callable[[int], object]:
        return lambda status: ended.append((rank, status))

    beats = [Heartbeat(store, rank, NAMES, 0.4, said.append, end_of(rank)) for rank in range(3)]
    for beat in beats:
        beat.__enter__()
    for _ in range(3):
        for beat in beats:
            beat.mark("computes")
    for beat in beats[:2]:
        beat.mark("sums gradients")
    end = time.monotonic() + 30
    while len(ended) < 3 and time.monotonic() < end:
        time.sleep(0.05)
    for beat in beats:
        beat.__exit__()
    assert {rank for rank, _ in ended} >= {0, 1}
    assert {status for _, status in ended} == {1}
    assert len(said) == 1
    assert "rank 2 on b has not arrived" in said[0]


def test_long_work_and_slow_steps_may_take_longer() -> None:
    beat = Heartbeat(MemoryStore(), 0, NAMES, 5.0, pytest.fail)
    assert beat.allowed == heartbeat.LONGEST, "before the first step has ended"
    beat.mark("computes", 1)
    assert beat.allowed == heartbeat.LONGEST
    beat._step_began -= 2.0
    beat.mark("computes", 2)
    assert beat.allowed == pytest.approx(20, abs=1), "ten times the longest step"
    beat.mark(SAVES)
    assert beat.allowed == heartbeat.LONGEST
    beat._step_began -= 900.0
    beat.mark("computes", 3)
    assert beat.allowed == pytest.approx(20, abs=1), "and saving is not part of a step"


def test_without_a_limit_nothing_is_watched() -> None:
    store: Any = MemoryStore()
    with Heartbeat(store, 0, NAMES, 0, pytest.fail) as beat:
        beat.mark("computes", 1)
    assert store.values == {}
