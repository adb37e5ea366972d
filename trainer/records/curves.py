"""The curves of a plot as numbers: loss and speed over steps, tokens or time, with gaps for missing values."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import accumulate
from typing import Literal

from trainer.records.reading import Record, RecordedRun, moment, number

Axis = Literal["steps", "tokens", "time"]


@dataclass(frozen=True)
class Curve:
    """Points from left to right. A NaN in `y` is a gap."""

    x: tuple[float, ...] = ()
    y: tuple[float, ...] = ()

    def smoothed(self, count: int) -> Curve:
        """The moving average over `count` points, centred, over fewer points at the ends. Gaps stay gaps."""
        sums = [*accumulate((y if math.isfinite(y) else 0.0 for y in self.y), initial=0.0)]
        counts = [*accumulate((math.isfinite(y) for y in self.y), initial=0)]
        means = []
        for i, y in enumerate(self.y):
            first, last = max(0, i - (count - 1) // 2), min(len(self.y), i + count // 2 + 1)
            means.append(
                (sums[last] - sums[first]) / (counts[last] - counts[first]) if math.isfinite(y) else y
            )
        return Curve(self.x, tuple(means))


@dataclass(frozen=True)
class Curves:
    """The curves of one run.

    Attributes:
        loss: training loss in nats per token, with a gap for each skipped non-finite step.
        held_out: loss of the evaluations, in nats per token.
        rate: tokens per second, with the same gaps.
    """

    name: str
    loss: Curve
    held_out: Curve
    rate: Curve


def curves(run: RecordedRun, axis: Axis) -> Curves:
    """The curves of a run over steps, tokens or seconds.

    Steps between two records are assumed to have as many tokens as the later record. Seconds count only while the run was
    active: the time between a stop and a resume is excluded.
    """
    points = list(_points(run, axis))

    def curve(figure: str, *events: str) -> Curve:
        chosen = [(x, record) for x, record in points if record["event"] in events]
        values = (None if record["event"] == "nonfinite" else number(record, figure) for _, record in chosen)
        return Curve(tuple(x for x, _ in chosen), tuple(math.nan if y is None else y for y in values))

    steps = ("train", "nonfinite")
    return Curves(run.name, curve("loss", *steps), curve("loss", "eval"), curve("tokens_per_second", *steps))


def _points(run: RecordedRun, axis: Axis) -> Iterator[tuple[float, Record]]:
    """Each record with its position on the axis."""
    step, tokens, seconds = 0, 0.0, 0.0
    before = None
    for record in run.records:
        now = moment(record)
        if record["event"] != "run_start" and before and now:
            seconds += max(0.0, (now - before).total_seconds())  # the clock may have been set back
        before = now or before
        if record["event"] == "train":
            tokens += (record["step"] - step) * (number(record, "tokens") or 0.0)
            step = record["step"]
        yield {"steps": float(record["step"]), "tokens": tokens, "time": seconds}[axis], record
