"""The charts of a run: each figure over the steps, reduced to what a screen can show."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from nicegui import ui

from gui.downsampling import reduced
from gui.record_follower import Follower, Points
from gui.texts import Words

# Title (a key of the texts), and the curves: (event, figure), key of the name, factor
CHARTS: tuple[tuple[str, tuple[tuple[tuple[str, str], str, float], ...]], ...] = (
    ("chart.loss", ((("train", "loss"), "chart.training", 1), (("eval", "loss"), "chart.held_out", 1))),
    ("chart.speed", ((("train", "tokens_per_second"), "chart.tokens", 1),)),
    ("chart.lr", ((("train", "lr"), "chart.lr", 1),)),
    ("chart.memory", ((("train", "peak_memory_bytes"), "chart.memory", 2**-30),)),
    (
        "chart.gpu",
        (
            (("train", "gpu_utilization"), "chart.gpu_use", 100),
            (("train", "gpu_celsius"), "chart.celsius", 1),
            (("train", "gpu_watts"), "chart.watts", 1),
        ),
    ),
)
COLOURS = ("#2f6fe4", "#c2571a", "#2e9e5b", "#9b4fc9", "#b58900", "#0d8f9c", "#d1447a", "#6b7280")
INK = "#7d8794"  # on light and on dark paper
GRID = {"lineStyle": {"color": "#7d879440"}}


def options(title: str, curves: Sequence[tuple[str, Points, float]]) -> dict[str, Any]:
    """The options of ECharts for curves of one chart: (name, points, factor)."""
    several = len(curves) > 1
    legend = {"show": several, "top": 26, "type": "scroll", "textStyle": {"color": INK}}
    return {
        "aria": {"enabled": True},
        "animation": False,
        "color": list(COLOURS),
        "title": {"text": title, "left": "left", "top": 0, "textStyle": {"fontSize": 14, "color": INK}},
        "legend": {**legend, "pageTextStyle": {"color": INK}},
        "tooltip": {"trigger": "axis", "renderMode": "richText"},
        "grid": {"left": 8, "right": 16, "top": 58 if several else 36, "bottom": 8, "containLabel": True},
        "xAxis": {
            "type": "value",
            "min": "dataMin",
            "max": "dataMax",
            "axisLabel": {"color": INK},
            "splitLine": GRID,
        },
        "yAxis": {"type": "value", "scale": True, "axisLabel": {"color": INK}, "splitLine": GRID},
        "series": [
            {
                "type": "line",
                "name": name,
                "showSymbol": len(points.x) < 20,
                "data": data(points, factor),
                "lineStyle": {"width": 1.5},
            }
            for name, points, factor in curves
        ],
    }


def data(points: Points, factor: float = 1) -> list[list[float]]:
    """A curve as ECharts takes it."""
    return [[x, y * factor] for x, y in reduced(points.x, points.y)]


class RunCharts:
    """The charts of a run, drawn in the current element, and redrawn by `update`."""

    def __init__(self, follower: Follower, words: Words) -> None:
        self._follower, self._words = follower, words
        self._drawn: dict[str, ui.echart] = {}
        self._area = ui.element("div").classes("charts")
        self.update()

    def update(self) -> None:
        """Draw what the follower has read. A chart appears with its first point."""
        for title, curves in CHARTS:
            drawn = [
                (self._words(name), self._follower.curves[key], factor)
                for key, name, factor in curves
                if self._follower.curves[key].x
            ]
            if not drawn:
                continue
            made = options(self._words(title), drawn)
            if title in self._drawn:
                self._drawn[title].options.update(made)
                self._drawn[title].update()
            else:
                with self._area:
                    chart = ui.echart(made).classes("chart")
                    self._drawn[title] = chart.props(f'role=img aria-label="{self._words(title)}"')
