"""Optimize: measures settings on this machine, shows them as they are measured, and trains with the recommended ones."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlencode

from nicegui import ui

from gui import jobs
from gui.frame import Here, button, command_line, heading, page, paragraph, row, table
from gui.job_view import JobView
from gui.measured_settings import COLUMNS, Row, measured_so_far, newest_results
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
        self._results = ui.element("div").classes("plain").props("aria-live=polite")
        self._rows: list[Row] = []
        self._view = JobView(here, self._ended, self._running)
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
        self._rows = []
        self._view.show(jobs.start(self._asked, str(FOLDER)))

    def _running(self, job: jobs.Job) -> None:
        """Show the candidates that are measured so far."""
        rows = measured_so_far(Path(job.place) / FOLDER, job.born)
        if rows != self._rows:
            self._rows = rows
            self._table("optimize.so_far", rows)

    def _table(self, title: str, rows: list[Row]) -> None:
        text = self.here.words
        self._results.clear()
        with self._results:
            heading(text(title))
            table([text(f"optimize.{name}") for name in COLUMNS], rows)

    def _ended(self, job: jobs.Job) -> None:
        """Show the results of the session, and the way to train with its recommendation."""
        found = newest_results(Path(job.place) / FOLDER, job.born)
        self._results.clear()
        if found is None:
            return
        if found.recommended is None:
            self._table("optimize.results", found.rows)
            return
        best, *others = found.rows
        self._table("optimize.results", [(*best[:-1], self.here.words("optimize.recommended")), *others])
        target = f"/train?{urlencode({'config': str(found.recommended)})}"
        with self._results:
            paragraph(str(found.recommended), "dim")
            with row():
                button(self.here.words("optimize.apply"), lambda: ui.navigate.to(target))


@page("/optimize", "optimize")
def optimize(here: Here) -> None:
    heading(here.words("nav.optimize"), 1)
    paragraph(here.words("optimize.lead"))
    Optimization(here)
