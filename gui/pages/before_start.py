"""What is known of a training before its start: memory against what the device has, the attention that runs, and the time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from nicegui import ui

from gui.command_view import run_in
from gui.frame import Here, button, folded, heading, output, paragraph, row, table, tag
from gui.measured_settings import newest_results
from gui.operations import ask, command
from gui.units import duration, gib, mib
from trainer.config import TrainConfig

PARTS = ("weights", "gradients", "optimizer", "activations", "logits", "total")
PATIENCE = 1.0  # seconds without a change before the memory is planned
MEASURED = Path("artifacts", "measured")  # not where the sessions of the page Optimize are
SECONDS = "2"  # of steps that are measured
# Options of `aios train` that `aios optimize` has not, since it trains elsewhere
OF_A_RUN = ("--output-dir", "--log-file")


class BeforeStart:
    """The plan of a training, made again after each change, and its speed, measured after a click.

    Args:
        options: of `aios train`, as they are now.
    """

    def __init__(self, here: Here, options: Callable[[], tuple[str, ...]]) -> None:
        self.here, self._options = here, options
        self._planning: asyncio.Task[None] | None = None
        self._config: TrainConfig | None = None
        heading(here.words("train.before"))
        self._plan = ui.element("div").classes("plain")
        self._time = ui.element("div").classes("plain")
        with row():
            self._measure = button(here.words("train.measure"), self._on_measure, quiet=True)

    def refresh(self, config: TrainConfig | None) -> None:
        """Plan again, once nothing has changed for a while. `config`: None if it is not valid."""
        self._config = config
        self._time.clear()
        self._measure.set_enabled(config is not None)
        if self._planning:
            self._planning.cancel()
        self._planning = asyncio.get_running_loop().create_task(self._show_plan())

    async def _show_plan(self) -> None:
        if self._config is None:
            self._plan.clear()
            return
        await asyncio.sleep(PATIENCE)
        answer = await ask(command("plan", *self._options(), "--json"))
        self._plan.clear()
        with self._plan:
            if isinstance(answer.document, dict):
                _memory(self.here, answer.document)
                _attention(self.here, answer.document["attention"])
            else:
                paragraph(answer.text, "dim")

    async def _on_measure(self) -> None:
        """Train for some seconds with these settings, in a process of its own, and show how long the run will take."""
        config, text = self._config, self.here.words
        if config is None:
            return
        self._measure.disable()
        given = (*measured_options(self._options()), "--test-duration", SECONDS)
        answer = await run_in(
            self._time, self.here, command("optimize", *given, "--output-dir", str(MEASURED))
        )
        self._measure.enable()
        found = newest_results(MEASURED) if answer.status == 0 else None
        with self._time:
            if found is None:
                output(answer.text, text("output"))
                return
            paragraph(time_to_the_end(self.here, config, found.candidates[0]), "lead")


def measured_options(options: tuple[str, ...]) -> tuple[str, ...]:
    """The options of `aios optimize` that measure what options of `aios train` ask for."""
    given: list[str] = []
    rest = iter(options)
    for word in rest:
        if word in OF_A_RUN:
            next(rest)
        else:
            given.append("--model" if word == "--name" else word)
    return tuple(given)


def time_to_the_end(here: Here, config: TrainConfig, result: Mapping[str, Any]) -> str:
    """How fast a step is, and how long all steps take, where their number is known."""
    text, seconds = here.words, result["median_step_seconds"]
    speed = text(
        "train.measured",
        rate=f"{result['tokens_per_second']:,.0f}",
        seconds=f"{seconds:.2f}",
        memory=mib(result["peak_memory_bytes"]),
        backend=result["backend"],
    )
    if config.data.iterate or config.training.epochs:
        return speed
    steps = config.training.steps
    return f"{speed} {text('train.takes', steps=f'{steps:,}', time=duration(steps * seconds))}"


def _memory(here: Here, plan: dict[str, Any]) -> None:
    """What a step needs by part, against what the device has."""
    text, first = here.words, plan["settings"][0]
    memory = first["memory"]
    needed, size = gib(memory["total"]), gib(plan["device"]["bytes"])
    paragraph(text("train.memory_needs", needed=needed, device=plan["device"]["name"], size=size))
    share = min(1.0, memory["total"] / max(1, plan["device"]["bytes"]))
    with ui.element("div").classes("bar").props(f'role=img aria-label="{needed} / {size}"'):
        ui.element("div").style(f"width: {share:.1%}")
    recommended = plan["recommended"]
    if first["fits"]:
        paragraph(text("train.memory_fits"), "good")
    elif recommended is None:
        paragraph(text("train.memory_never"), "bad")
    else:
        options = " ".join(plan["settings"][recommended]["options"])
        paragraph(text("train.memory_too_much", options=options), "bad")
    with folded(text("train.part")):
        table([text("train.part"), "GiB"], [(text(f"part.{part}"), gib(memory.get(part))) for part in PARTS])


def _attention(here: Here, found: Mapping[str, Any] | None) -> None:
    """The attention that runs, and why not a faster one."""
    if found is None:
        return
    paragraph(here.words("train.attention", backend=found["label"]))
    if found["rejections"]:
        with folded(here.words("train.why_not")), ui.element("ul"):
            for each in found["rejections"]:
                tag("li", f"{each['backend']}: {'; '.join(each['reasons'])}")
