"""Runs: the list of `aios runs`, runs side by side, export, and deletion."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from nicegui import ui

from gui.command_view import print_in, run_in
from gui.frame import Here, button, card, heading, output, page, paragraph, row, tag
from gui.known_runs import delete, files_of, may_show, remember
from gui.operations import Command, command
from gui.pages.runs_comparison import compare_runs
from trainer.survival.lock import is_locked

ARTIFACTS = "artifacts"
FORMS = {"plain": (), "merged": ("--merge",)} | {
    kind: ("--gguf", "--gguf-type", kind) for kind in ("f16", "bf16", "q8_0")
}
HEADINGS = ("run", "model", "steps", "state", "loss", "held_out", "speed")


class RunList:
    """The list, and what can be done with the chosen runs."""

    def __init__(self, here: Here) -> None:
        self.here = here
        self.chosen: list[str] = []
        text = here.words
        with row():
            self._folder = ui.input(text("runs.folder"), value=here.query.get("folder", ARTIFACTS))
            button(text("runs.list"), self.refresh, quiet=True)
        self._list = ui.element("div").classes("plain")
        with row():
            self._compare = button(text("runs.compare"), self._on_compare, quiet=True)
            paragraph(text("runs.compare_lead"), "dim")
        self._answer = ui.element("div").classes("plain")
        ui.timer(0, self.refresh, once=True)

    async def refresh(self) -> None:
        answer = await run_in(self._list, self.here, command("runs", str(self._folder.value), "--json"))
        self.chosen = []
        with self._list:
            if not isinstance(answer.document, dict):
                exists = Path(str(self._folder.value)).exists()
                paragraph(self.here.words("runs.none"))
                if exists:
                    output(answer.text, self.here.words("output"))
                return
            with ui.element("div").classes("scroll").props("tabindex=0"), ui.element("table"):
                self._rows(answer.document["runs"])

    def _rows(self, runs: list[dict[str, Any]]) -> None:
        text = self.here.words
        with ui.element("thead"), ui.element("tr"):
            tag("th", text("runs.compare")).props("scope=col")
            for name in HEADINGS:
                tag("th", text(f"runs.{name}")).props("scope=col")
            tag("td")
        with ui.element("tbody"):
            for each in runs:
                remember(each["log"])
                with ui.element("tr"):
                    self._row(each)

    def _row(self, run: dict[str, Any]) -> None:
        text, log = self.here.words, str(run["log"])
        with ui.element("td"):
            choice = ui.checkbox(on_change=lambda event: self._choose(log, bool(event.value)))
            choice.props["aria-label"] = text("runs.choose", name=run["name"])
        with ui.element("td"):
            ui.link(str(run["name"]), f"/run?{urlencode({'log': log})}")
        steps = f"{run['step']:,}" + (f" / {run['steps']:,}" if run["steps"] else "")
        figures = [_figure(run[name], ".3f") for name in ("loss", "eval_loss")]
        for value in (
            run["model"] or "",
            steps,
            run["state"],
            *figures,
            _figure(run["tokens_per_second"], ",.0f"),
        ):
            tag("td", str(value))
        with ui.element("td"), row():
            export = button(text("runs.export"), lambda: self._on_export(log), quiet=True)
            remove = button(text("runs.delete"), lambda: self._on_delete(log), quiet=True)
            export.props["aria-label"] = f"{text('runs.export')} {run['name']}"
            remove.props["aria-label"] = f"{text('runs.delete')} {run['name']}"

    def _choose(self, log: str, chosen: bool) -> None:
        self.chosen = [each for each in self.chosen if each != log] + [log] * chosen

    async def _on_compare(self) -> None:
        if len(self.chosen) > 1:
            await compare_runs(self._answer, self.here, self.chosen)

    def _on_export(self, log: str) -> None:
        text, folder = self.here.words, Path(log).parent
        self._answer.clear()
        with self._answer, card():
            heading(f"{text('runs.export')}: {folder}")
            forms = {form: text(f"export.{form}") for form in FORMS}
            form = ui.select(forms, value="plain", label=text("runs.export_as"))
            target = ui.input(text("runs.export_to"), value=str(_target(folder, "plain")))
            form.on_value_change(lambda: target.set_value(str(_target(folder, str(form.value)))))
            area = ui.element("div").classes("plain")

            async def export() -> None:
                asked = export_command(folder, str(form.value), str(target.value))
                await print_in(area, self.here, asked)

            with row():
                button(text("runs.export"), export)

    def _on_delete(self, log: str) -> None:
        """Show what would be deleted, and delete it after a click. An active run has no button."""
        text, path = self.here.words, Path(log)
        self._answer.clear()
        with self._answer, card("bad-edge"):
            heading(f"{text('runs.delete')}: {path.parent}")
            if not may_show(path) or is_locked(path):
                paragraph(text("runs.running"), "warn")
                return
            files = files_of(path)
            total = sum(each.stat().st_size for each in files)
            names = dict.fromkeys(each.relative_to(path.parent).parts[0] for each in files)
            paragraph(text("runs.delete_lead", size=f"{total / 2**20:,.1f} MiB", path=path.parent))
            output("\n".join(names), text("runs.delete"))

            async def remove() -> None:
                if not is_locked(path):
                    delete(path)
                self._answer.clear()
                await self.refresh()

            with row():
                button(text("runs.delete"), remove)
                button(text("cancel"), self._answer.clear, quiet=True)


def export_command(folder: Path, form: str, target: str) -> Command:
    """The `aios export` that writes a run in a form of FORMS."""
    return command("export", "--checkpoint", str(folder), "--output", target, *FORMS[form])


def _target(folder: Path, form: str) -> Path:
    return folder / (f"{folder.name}-{form}.gguf" if "--gguf" in FORMS[form] else f"export-{form}")


def _figure(value: float | None, form: str) -> str:
    return "" if value is None else format(value, form)


@page("/runs", "runs")
def runs(here: Here) -> None:
    heading(here.words("runs.title"), 1)
    RunList(here)
