"""Two runs side by side: their configurations, figures, and losses after the same steps."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from trainer.records.curves import Curve, curves
from trainer.records.reading import RecordedRun
from trainer.records.runs import RunSummary, summarize

SCHEMA_VERSION = 1
ROWS = 10  # points of the curves
WHERE = ("output",)  # sections that say where a run writes, not what it computes

Pair = tuple[Any, Any]


@dataclass(frozen=True)
class Point:
    """The losses of both runs at a point; None where a run has none.

    Attributes:
        step: of both runs.
        tokens: that each run had trained on.
        loss: of training, averaged over the records since the point before.
        held_out: of the newest evaluation.
    """

    step: int
    tokens: Pair
    loss: Pair
    held_out: Pair


@dataclass(frozen=True)
class Comparison:
    """Two runs side by side.

    Attributes:
        configuration: by key, such as training.learning_rate, the values that differ. A missing key is None.
        versions: by package, the versions that differ.
        lowest: the lowest held-out loss of each.
    """

    runs: tuple[RunSummary, RunSummary]
    configuration: Mapping[str, Pair]
    versions: Mapping[str, Pair]
    lowest: Pair
    points: tuple[Point, ...]

    def to_json(self) -> dict[str, Any]:
        return {
            "schema_version": SCHEMA_VERSION,
            "runs": [run.to_json() for run in self.runs],
            "configuration": {key: list(pair) for key, pair in self.configuration.items()},
            "versions": {key: list(pair) for key, pair in self.versions.items()},
            "lowest_held_out_loss": list(self.lowest),
            "curves": [
                {
                    "step": point.step,
                    "tokens": list(point.tokens),
                    "loss": list(point.loss),
                    "held_out_loss": list(point.held_out),
                }
                for point in self.points
            ],
        }


def compare(a: RecordedRun, b: RecordedRun, at_work: tuple[bool, bool] = (False, False)) -> Comparison:
    """Compare two runs.

    Args:
        at_work: whether a process is running each of them now.
    """
    runs = summarize(a, at_work[0]), summarize(b, at_work[1])
    pair = (_Curves.of(a), _Curves.of(b))
    last = max(run.step for run in runs)
    steps = sorted({max(1, round(last * i / ROWS)) for i in range(1, ROWS + 1)})
    points, before = [], 0
    for step in steps:
        points.append(
            Point(
                step,
                _both(each.tokens_at(step) for each in pair),
                _both(each.loss_between(before, step) for each in pair),
                _both(each.held_out_at(step) for each in pair),
            )
        )
        before = step
    return Comparison(
        runs,
        _different(*(_flat(_settings(run)) for run in (a, b))),
        _different(*(run.start.get("versions") or {} for run in (a, b))),
        _both(each.lowest for each in pair),
        tuple(points),
    )


@dataclass(frozen=True)
class _Curves:
    loss: Curve
    held_out: Curve
    tokens: Curve

    @classmethod
    def of(cls, run: RecordedRun) -> _Curves:
        by_step, by_tokens = curves(run, "steps"), curves(run, "tokens")
        return cls(by_step.loss, by_step.held_out, Curve(by_step.loss.x, by_tokens.loss.x))

    @property
    def lowest(self) -> float | None:
        return min((loss for loss in self.held_out.y if loss == loss), default=None)

    def tokens_at(self, step: int) -> float | None:
        """None after the last step of the run."""
        return _newest(self.tokens, step) if self._has(step) else None

    def held_out_at(self, step: int) -> float | None:
        return _newest(self.held_out, step) if self._has(step) else None

    def loss_between(self, before: int, step: int) -> float | None:
        values = [y for x, y in zip(self.loss.x, self.loss.y, strict=True) if before < x <= step and y == y]
        return sum(values) / len(values) if values and self._has(step) else None

    def _has(self, step: int) -> bool:
        return bool(self.loss.x) and step <= self.loss.x[-1]


def _newest(curve: Curve, step: int) -> float | None:
    i = bisect_right(curve.x, step)
    value = curve.y[i - 1] if i else float("nan")
    return value if value == value else None


def _both(values: Any) -> Pair:
    first, second = values
    return first, second


def _settings(run: RecordedRun) -> Mapping[str, Any]:
    config = run.start.get("config")
    return config if isinstance(config, dict) else {}


def _flat(config: Mapping[str, Any]) -> dict[str, Any]:
    """The keys of all sections, except those that say where a run writes: training.learning_rate → its value."""
    return {
        f"{section}.{key}": value
        for section, values in config.items()
        if section not in WHERE and isinstance(values, dict)
        for key, value in values.items()
    }


def _different(a: Mapping[str, Any], b: Mapping[str, Any]) -> dict[str, Pair]:
    return {key: (a.get(key), b.get(key)) for key in sorted({*a, *b}) if a.get(key) != b.get(key)}
