"""Progress of a run on stderr: a progress bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Mapping
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from trainer.text_lines import shown

PLAIN_INTERVAL = 10.0  # seconds between plain progress lines
SPEED_PERIOD = 900.0  # seconds over which the remaining time is estimated; one step can take minutes


class Reporter:
    """Prints lines at any time, and the progress of steps inside `with reporter.steps(total, done)`."""

    def __init__(self, quiet: bool = False) -> None:
        self._console = Console(stderr=True, markup=False, highlight=False, soft_wrap=True, quiet=quiet)
        self._bar: Progress | None = None
        self._next_line = 0.0
        self._began: tuple[float, int] | None = None

    def say(self, line: str) -> None:
        self._console.print(shown(line, self._console.width if self._console.is_terminal else None))

    def steps(self, total: int | None, done: int) -> Reporter:
        """Expect steps done+1 … total; an unlimited number if `total` is None."""
        self._total = total
        if self._console.is_terminal and not self._console.quiet:
            self._bar = Progress(
                TextColumn("{task.fields[figures]}", markup=False),
                BarColumn(),
                MofNCompleteColumn(),
                TimeRemainingColumn(),
                console=self._console,
                speed_estimate_period=SPEED_PERIOD,
            )
            self._task = self._bar.add_task("", total=total, completed=done, figures="")
        return self

    def __enter__(self) -> Reporter:
        if self._bar:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar:
            self._bar.stop()
            self._bar = None

    def record(self, record: Mapping[str, Any]) -> None:
        """Show the important figures of a record."""
        step, event = record["step"], record["event"]
        if event == "train":
            self._step(step, record)
        elif event == "eval":
            self.say(f"step {self._of_all(step)}  {_held_out(record)}")
        elif event == "nonfinite":
            self.say(f"WARNING: step {self._of_all(step)} was skipped: its loss or gradient is not finite.")

    def _step(self, step: int, record: Mapping[str, Any]) -> None:
        memory = record["peak_memory_bytes"] / 2**20
        figures = f"loss {record['loss']:.4f}  {record['tokens_per_second']:,.0f} tokens/s  {memory:,.0f} MiB"
        if self._bar:
            self._bar.update(self._task, completed=step, figures=figures)
        elif step == self._total or time.monotonic() >= self._next_line:
            self._next_line = time.monotonic() + PLAIN_INTERVAL
            self.say(f"step {self._of_all(step)}  {figures}{self._left(step)}")

    def _left(self, step: int) -> str:
        """The time to the last step, from the second line on."""
        now = time.monotonic()
        if self._began is None:
            self._began = now, step
        began, first = self._began
        if self._total is None or not first < step < self._total:
            return ""
        return f"  about {duration((self._total - step) * (now - began) / (step - first))} left"

    def _of_all(self, step: int) -> str:
        return str(step) if self._total is None else f"{step}/{self._total}"


def duration(seconds: float) -> str:
    """A length of time in the largest fitting unit: 40 s, 12 min, 3.5 h, 2 days."""
    for unit, name, digits in ((86400.0, " days", 1), (3600.0, " h", 1), (60.0, " min", 0)):
        if seconds >= 2 * unit:
            return f"{seconds / unit:.{digits}f}{name}"
    return f"{seconds:.0f} s"


def _held_out(record: Mapping[str, Any]) -> str:
    """The figures of an evaluation. Records contain null for numbers that are not finite."""
    if "rewards_accuracy" in record and record["loss"] is not None:
        return f"held-out loss {record['loss']:.4f}, {record['rewards_accuracy']:.0%} of pairs in the right order"
    if record["loss"] is None or record["bits_per_byte"] is None:
        return "held-out loss is not finite"
    return f"held-out loss {record['loss']:.4f}, {record['bits_per_byte']:.3f} bits per byte"
