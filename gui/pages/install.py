"""Install: the plan as a table, the installation in the background, and its undo."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from nicegui import ui

from gui import jobs
from gui.frame import Here, button, card, command_line, folded, heading, output, page, paragraph, row, table
from gui.job_view import JobView
from gui.operations import ask, command
from gui.units import mib

RESULT = "installation"  # what the jobs of this page have in common
COLUMNS = ("package", "installed", "version", "size", "why")


class Installation:
    """The plan, and the running installation."""

    def __init__(self, here: Here) -> None:
        text = self.text = here.words
        self.here = here
        with folded(text("doctor.options")), ui.element("div").classes("fields"):
            self._packages = ui.input(text("install.packages"))
            self._python = ui.input(text("doctor.python"))
            self._offline = ui.checkbox(text("doctor.offline"))
        with row():
            button(text("install.plan"), self._plan)
            button(text("install.undo"), self._confirm_undo, quiet=True)
        self._area = ui.element("div").classes("plain")
        self._view = JobView(here)
        self._view.show_newest(Path(RESULT))

    @property
    def _of_python(self) -> list[str]:
        python = str(self._python.value or "").strip()
        return ["--python", python] if python else []

    def _options(self) -> list[str]:
        packages = str(self._packages.value or "").replace(",", " ").split()
        return [
            *packages,
            *["--offline"] * bool(self._offline.value),
            *self._of_python,
        ]

    async def _plan(self) -> None:
        asked = command("install", *self._options(), "--dry-run", "--json")
        self._area.clear()
        with self._area:
            command_line(self.here, asked)
            waiting = paragraph(self.text("running"), "dim").props("role=status")
        answer = await ask(asked)
        with self._area:
            waiting.delete()
            if not isinstance(answer.document, dict):
                output(answer.text, self.text("output"))
                return
            self._show(answer.document)

    def _show(self, plan: dict[str, Any]) -> None:
        rows = [_row(each) for each in plan["packages"]]
        if rows:
            table([self.text(f"install.{name}") for name in COLUMNS], rows)
        if plan["status"] == "planned":
            self._confirm(self._options())
        else:
            paragraph(plan["message"])

    def _confirm_undo(self) -> None:
        self._area.clear()
        self._confirm(["--undo", *self._of_python])

    def _confirm(self, options: list[str]) -> None:
        asked = command("install", *options, "--yes")
        with self._area, card():
            heading(self.text("command"), 3)
            command_line(self.here, asked)
            with row():
                button(self.text("apply"), lambda: self._view.show(jobs.start(asked, RESULT)))


def _row(package: dict[str, Any]) -> tuple[str, ...]:
    size = "" if package["size"] is None else mib(package["size"])
    why = "; ".join(package["reasons"]) or package["filename"] or package["action"]
    return (package["package"], package["installed"] or "", package["version"] or "", size, why)


@page("/install", "install")
def install(here: Here) -> None:
    heading(here.words("nav.install"), 1)
    paragraph(here.words("install.lead"))
    Installation(here)
