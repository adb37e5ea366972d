"""Finds processes that hang, and names the one that did not arrive.

A process that waits for another one in a collective cannot report that itself. So a thread of each process reports to the others,
through torchrun's store, which step its process has reached and where in the code it is. When a process has made no progress
for longer than the limit, it prints which processes are behind, and ends; torchrun then ends or restarts the others.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import FrameType
from typing import Any, Protocol

from doctor.bounded import parse_json
from trainer.say import Say

LONGEST_PAUSE = 5.0  # seconds between two reports
SLOW_STEPS = 10  # a step may take as many times as long as the longest one so far
PREPARES, SAVES, EVALUATES = "prepares the run", "saves a checkpoint", "evaluates"
LONG = (PREPARES, SAVES, EVALUATES)
LONGEST = 1800.0  # seconds for these and for the first step: files are read and written, kernels are compiled
OWN = str(Path(__file__).parents[1])
FAILED = 1  # exit status


class Store(Protocol):
    """The part of torch's key-value store that is used here."""

    def set(self, key: str, value: str) -> None: ...

    def get(self, key: str) -> bytes: ...

    def check(self, keys: list[str]) -> bool: ...

    def add(self, key: str, amount: int) -> int: ...


@dataclass(frozen=True)
class Sign:
    """What a process reports about itself.

    Attributes:
        step: number of the step that it works on.
        count: how often it has made progress.
        doing: what it does, as a phrase for a message.
        where: the line of code that it is in.
        age: seconds since its last progress.
        at: when it reported this, in seconds of its own clock.
    """

    step: int
    count: int
    doing: str
    where: str
    age: float
    at: float


class Heartbeat:
    """While entered, watches the processes of a run.

    Args:
        names: of all processes, by rank.
        limit: seconds without progress in a step; 0 for no watch.
        end: ends this process.
    """

    def __init__(
        self,
        store: Store,
        rank: int,
        names: Sequence[str],
        limit: float,
        say: Say,
        end: Callable[[int], object] = os._exit,
    ) -> None:
        self._store, self._rank, self._names, self._limit = store, rank, names, limit
        self._say, self._end = say, end
        self._pause = min(LONGEST_PAUSE, limit / 4) if limit else LONGEST_PAUSE
        self._step, self._count, self._doing = 0, 0, PREPARES
        self._progress = self._step_began = time.monotonic()
        self._longest = 0.0  # seconds of a step, without evaluating and saving
        self._timing = False
        self._stop = threading.Event()
        self._main = threading.get_ident()
        self._thread = threading.Thread(target=self._watch, name="heartbeat", daemon=True)
        self._seen: dict[int, tuple[str, float]] = {}  # the last sign of each process, and when it changed

    def mark(self, doing: str | None = None, step: int | None = None) -> None:
        """Note that this process has made progress.

        Args:
            doing: what it does from now on, such as "reads its samples"; None for the same as before.
            step: number of the step that it works on; None for the same.
        """
        now = time.monotonic()
        step, doing = step or self._step, doing or self._doing
        if self._timing and (step > self._step or doing in LONG):
            self._longest = max(self._longest, now - self._step_began)
            self._timing = False
        if step > self._step:
            self._step_began, self._timing = now, True
        self._step, self._doing = step, doing
        self._count += 1
        self._progress = now

    def __enter__(self) -> Heartbeat:
        if self._limit and len(self._names) > 1:
            self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(2 * self._pause)

    @property
    def allowed(self) -> float:
        """Seconds that may pass without progress."""
        if not self._longest or self._doing in LONG:
            return max(self._limit, LONGEST)
        return max(self._limit, SLOW_STEPS * self._longest)

    def _watch(self) -> None:
        try:
            while not self._stop.wait(self._pause):
                self._store.set(self._key(self._rank), json.dumps(asdict(self._sign())))
                signs = self._signs()
                if time.monotonic() - self._progress > self.allowed:
                    self._give_up(signs)
        except (
            RuntimeError
        ):  # the process that hosts the store has ended, which the main thread notices itself
            return

    def _sign(self) -> Sign:
        frame = sys._current_frames().get(self._main)
        age = time.monotonic() - self._progress
        return Sign(self._step, self._count, self._doing, _place(frame), round(age, 1), time.monotonic())

    def _signs(self) -> list[Sign | None]:
        """The newest sign of each process; None for one that has never given any."""
        found: list[Sign | None] = []
        for rank in range(len(self._names)):
            key = self._key(rank)
            text = self._store.get(key).decode() if self._store.check([key]) else ""
            if text != self._seen.get(rank, ("", 0.0))[0]:
                self._seen[rank] = text, time.monotonic()
            found.append(Sign(**parse_json(text)) if text else None)
        return found

    def _give_up(self, signs: list[Sign | None]) -> None:
        silence = {rank: time.monotonic() - when for rank, (_, when) in self._seen.items()}
        if self._store.add("hang", 1) == 1:
            waited = time.monotonic() - self._progress
            self._say(report(self._names, signs, silence, waited, 3 * self._pause))
            self._store.add("failed", 1)
        else:
            time.sleep(self._pause)  # the other one prints
        self._end(FAILED)

    def _key(self, rank: int) -> str:
        return f"sign/{rank}"


def report(
    names: Sequence[str],
    signs: Sequence[Sign | None],
    silence: Mapping[int, float],
    waited: float,
    silent_after: float,
) -> str:
    """The processes that are behind, in a sentence: those that do not respond, else those with the least progress.

    Args:
        names: of the processes, by rank.
        silence: seconds since the last sign of each process, by rank.
        waited: seconds without progress.
        silent_after: seconds until a process counts as dead or stopped.
    """
    known = [(rank, sign) for rank, sign in enumerate(signs) if sign is not None]
    parts = [f"{names[rank]} has never reported" for rank, sign in enumerate(signs) if sign is None]
    parts += [
        f"{names[rank]} has not responded for {silence[rank]:.0f} s; it was in {_described(sign)}"
        for rank, sign in known
        if silence.get(rank, 0.0) > silent_after
    ]
    least = min((sign.count for _, sign in known), default=0)
    behind = [(rank, sign) for rank, sign in known if sign.count == least]
    if not parts and len(behind) == len(known):
        where = "; ".join(f"{names[rank]} is in {_described(sign)}" for rank, sign in known)
        parts = [f"all processes have made the same progress: {where}"]
    elif not parts:
        parts = [f"{names[rank]} has not arrived; it is in {_described(sign)}" for rank, sign in behind]
    return (
        f"No progress for {waited:.0f} s: {'; '.join(parts)}. The run ends here. Checkpoints are unchanged: continue with "
        "--resume, as torchrun does by itself with --max-restarts."
    )


def _described(sign: Sign) -> str:
    return f"step {sign.step} and {sign.doing} ({sign.where})"


def _place(frame: FrameType | None) -> str:
    """The line that a thread is in: the innermost one of aios."""
    found = "an unknown place"
    while frame is not None:
        name = frame.f_code.co_filename
        if name.startswith(OWN) or found == "an unknown place":
            found = f"{Path(name).name}:{frame.f_lineno} {frame.f_code.co_name}"
            if name.startswith(OWN):
                return found
        frame = frame.f_back
    return found


def store_of(rendezvous_store: Any) -> Any:
    """A connection of its own to torchrun's store: a thread must not wait for the requests of another one."""
    clone = getattr(rendezvous_store, "clone", None)
    return clone() if clone else rendezvous_store
