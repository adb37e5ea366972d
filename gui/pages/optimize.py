"""Optimize: measures settings on this machine, shows them as they are measured, and trains with the recommended ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from nicegui import ui

from doctor.bounded import parse_json, read_text
from gui import jobs
from gui.frame import Here, button, command_line, heading, page, paragraph, row, table
from gui.job_view import JobView
from gui.operations import Command, command

FOLDER = Path("artifacts", "optimization")
FIELDS = (
    "config",
    "model",
    "dataset-file",
    "batch-sizes",
    "chunk-sizes",
    "windows",
    "backends",
    "test-duration",
)
COLUMNS = ("batch_size", "chunk_size", "checkpointing", "backend", "speed", "memory", "lost")


class Optimization:
    """The options of `aios optimize`, the running session, and its results."""

    def __init__(self, here: Here) -> None:
        self.here, text = here, here.words
        self._values = {name: here.query.get(name, "") for name in FIELDS}
        self._values["batch-sizes"] = self._values["batch-sizes"] or "1,2,4,8"
        with ui.element("div").classes("fields"):
            for name in FIELDS:
                entry = ui.input(text(f"optimize.{name}"), value=self._values.get(name, ""))
                entry.on_value_change(lambda event, name=name: self._enter(name, str(event.value or "")))
            search = ui.checkbox(text("optimize.search"))
            search.on_value_change(lambda event: self._enter("search", "yes" if event.value else ""))
        self._command = ui.element("div")
        with row():
            button(text("optimize.start"), self._start)
        self._results = ui.element("div").classes("plain")
        self._view = JobView(here, self._ended)
        self._enter("config", self._values["config"])
        self._view.show_newest(FOLDER)

    @property
    def _asked(self) -> Command:
        given = [(name, self._values.get(name, "").strip()) for name in FIELDS]
        options = [part for name, value in given if value for part in (f"--{name}", value)]
        return command("optimize", *options, *["--search"] * bool(self._values.get("search")))

    def _enter(self, name: str, value: str) -> None:
        self._values[name] = value
        self._command.clear()
        with self._command:
            command_line(self.here, self._asked)

    def _start(self) -> None:
        self._results.clear()
        self._view.show(jobs.start(self._asked, str(FOLDER)))

    def _ended(self, job: jobs.Job) -> None:
        """Show the table of the newest session, and the way to train with its recommendation."""
        found = _newest(Path(job.place) / FOLDER)
        self._results.clear()
        if found is None:
            return
        file, results = found
        text = self.here.words
        with self._results:
            heading(text("optimize.results"))
            table([text(f"optimize.{name}") for name in COLUMNS], [_row(each) for each in results])
            recommended = file.with_name(file.name.replace("results_", "recommended_")).with_suffix(".yaml")
            if recommended.is_file():
                target = f"/train?{urlencode({'config': str(recommended)})}"
                paragraph(str(recommended), "dim")
                with row():
                    button(text("optimize.apply"), lambda: ui.navigate.to(target))


def _newest(folder: Path) -> tuple[Path, list[dict[str, Any]]] | None:
    files = sorted(folder.glob("results_*.json"))
    if not files:
        return None
    try:
        return files[-1], parse_json(read_text(files[-1]))["training"]["results"]
    except (OSError, ValueError, KeyError):
        return None


def _row(result: dict[str, Any]) -> tuple[str, ...]:
    accumulation = result["gradient_accumulation_steps"]
    speed, memory = result["tokens_per_second"], result["peak_memory_bytes"]
    return (
        f"{result['batch_size']} x {accumulation}" if accumulation != 1 else str(result["batch_size"]),
        str(result["chunk_size"] or ""),
        "x" if result["gradient_checkpointing"] else "",
        str(result["backend"] or ""),
        f"{speed:,.0f}" if speed else "",
        f"{memory / 2**20:,.0f} MiB" if memory else "",
        str(result["lost"] or result["error"] or ""),
    )


@page("/optimize", "optimize")
def optimize(here: Here) -> None:
    heading(here.words("nav.optimize"), 1)
    paragraph(here.words("optimize.lead"))
    Optimization(here)
