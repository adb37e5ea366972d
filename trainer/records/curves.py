"""What a plot of runs shows, as numbers: each figure over steps, tokens or time, with a gap where there is none."""

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
    """Points from left to right. A y that is not a number is a gap."""

    x: tuple[float, ...] = ()
    y: tuple[float, ...] = ()

    def smoothed(self, count: int) -> Curve:
        """Each point as the mean of the `count` that it is in the middle of; of fewer at the ends. Gaps stay gaps."""
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
    """What is drawn of a run.

    Attributes:
        loss: of training, in nats per token; a gap for each step that was left out because it was not finite.
        held_out: loss of the evaluations.
        rate: tokens per second, with the same gaps.
    """

    name: str
    loss: Curve
    held_out: Curve
    rate: Curve


def curves(run: RecordedRun, axis: Axis) -> Curves:
    """The curves of a run over steps, tokens, or seconds.

    Tokens of steps between two records are taken to be as many as in the later one. Seconds are those at work: what lies
    between a stop and the resumption is left out.
    """
    points = list(_points(run, axis))

    def curve(figure: str, *events: str) -> Curve:
        chosen = [(x, record) for x, record in points if record["event"] in events]
        values = (None if record["event"] == "nonfinite" else number(record, figure) for _, record in chosen)
        return Curve(tuple(x for x, _ in chosen), tuple(math.nan if y is None else y for y in values))

    steps = ("train", "nonfinite")
    return Curves(run.name, curve("loss", *steps), curve("loss", "eval"), curve("tokens_per_second", *steps))


def _points(run: RecordedRun, axis: Axis) -> Iterator[tuple[float, Record]]:
    """Each record with its place on the axis."""
    step, tokens, seconds = 0, 0.0, 0.0
    before = None
    for record in run.records:
        now = moment(record)
        if record["event"] != "run_start" and before and now:
            seconds += max(0.0, (now - before).total_seconds())  # a clock may be put back
        before = now or before
        if record["event"] == "train":
            tokens += (record["step"] - step) * (number(record, "tokens") or 0.0)
            step = record["step"]
        yield {"steps": float(record["step"]), "tokens": tokens, "time": seconds}[axis], record
