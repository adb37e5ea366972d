"""Several runs side by side: their curves in one chart, and the differences of their settings and results."""

from __future__ import annotations

import asyncio
from pathlib import Path

from nicegui import ui

from gui.charts import options
from gui.command_view import print_in
from gui.frame import Here, heading, paragraph
from gui.operations import command
from gui.record_follower import Follower

COMPARED = (("chart.loss", ("train", "loss")), ("chart.held_out_loss", ("eval", "loss")))


async def compare_runs(area: ui.element, here: Here, logs: list[str]) -> None:
    """Draw the curves of the newest run of each log, and run `aios runs compare` of the first with each other one."""
    text = here.words
    area.clear()
    with area:
        waiting = paragraph(text("running"), "dim").props("role=status")
    followers = await asyncio.to_thread(_read, logs)
    waiting.delete()
    with area:
        heading(text("runs.curves"))
        with ui.element("div").classes("charts"):
            for title, key in COMPARED:
                curves = [(name, each.curves[key], 1.0) for name, each in followers if each.curves[key].x]
                if curves:
                    chart = ui.echart(options(text(title), curves)).classes("chart")
                    chart.props(f'role=img aria-label="{text(title)}"')
        heading(text("runs.differences"))
        differences = [ui.element("div").classes("plain") for _ in logs[1:]]
    for place, other in zip(differences, logs[1:], strict=True):
        await print_in(place, here, command("runs", "compare", logs[0], other))


def _read(logs: list[str]) -> list[tuple[str, Follower]]:
    """The runs that can be read, each with a name: its folder."""
    found = []
    for log in map(Path, logs):
        follower = Follower(log)
        try:
            follower.refresh()
        except OSError:
            continue
        found.append((str(log.parent), follower))
    return found
