"""A command that runs in the background: its command line, its output as it comes, its end, and a button that ends it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from nicegui import ui

from gui import jobs
from gui.frame import Here, button, command_line, output, paragraph, row

SECOND = 1.0


class JobView:
    """Shows a job in the current element until another one is shown.

    Args:
        ended: called once with a job that has ended.
        running: called each second with a job that runs.
    """

    def __init__(
        self,
        here: Here,
        ended: Callable[[jobs.Job], object] | None = None,
        running: Callable[[jobs.Job], object] | None = None,
    ) -> None:
        self.here, self._ended, self._running = here, ended, running
        self._area = ui.element("div").classes("plain")
        self._job: jobs.Job | None = None
        self._timer = ui.timer(SECOND, self._tick, active=False)

    def show(self, job: jobs.Job) -> None:
        """Show a job, running or ended."""
        text, self._job = self.here.words, job
        self._area.clear()
        with self._area:
            command_line(self.here, job.command)
            self._state = paragraph("", "dim").props("role=status")
            self._output = output("", text("output"))
            with row():
                self._stop = button(text("run.stop_now"), job.kill, quiet=True)
        self._timer.activate()
        self._tick()

    def show_newest(self, result: Path) -> None:
        """Show the newest job that writes to a folder, if there is one: one that a closed page has started."""
        if job := jobs.newest(result):
            self.show(job)

    def _tick(self) -> None:
        job = self._job
        if job is None:
            return
        running = job.is_running
        if (shown := job.output) != self._output.text:
            self._output.text = shown
        status = job.status
        failed = "" if status in (None, 0) else self.here.words("failed", status=status)
        self._state.text = self.here.words("running") if running else failed
        self._stop.set_visibility(running)
        if running and self._running:
            self._running(job)
        if not running:
            self._timer.deactivate()
            if self._ended:
                with self._area:
                    self._ended(job)
