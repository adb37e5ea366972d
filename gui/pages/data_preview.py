"""What a training would learn from its data, and what a model is before it is downloaded."""

from __future__ import annotations

from nicegui import ui

from gui.command_view import print_in, run_in
from gui.frame import Here, button, output, paragraph, table, tag
from gui.operations import Command, command
from gui.units import gib

FIGURES = ("format", "documents", "tokens", "learned_tokens", "sequences", "chat_template")


async def preview_data(here: Here, area: ui.element, asked: Command) -> None:
    """Show what `aios data preview` answers, with what is learned marked."""
    answer = await run_in(area, here, asked)
    found = answer.document
    with area:
        if not isinstance(found, dict):
            output(answer.text, here.words("output"))
            return
        figures = [(name, found[name]) for name in FIGURES if found.get(name) is not None]
        table(
            ["", ""],
            [
                (here.words(f"preview.{name}"), f"{value:,}" if isinstance(value, int) else str(value))
                for name, value in figures
            ],
        )
        for each in found["dropped"]:
            paragraph(f"{each['count']}: {each['reason']} ({each['first']})", "warn")
        paragraph(here.words("train.learned"), "dim")
        for example in found["examples"]:
            with tag("pre").props(f'tabindex=0 role=region aria-label="{here.words("train.preview")}"'):
                for part in example["text"]:
                    tag(
                        "mark" if part["learned"] else "span",
                        part["text"],
                        "learned" if part["learned"] else "",
                    )


async def look_up_model(here: Here, area: ui.element, model: str) -> None:
    """Show the size and the licence of a model, and download it after a click."""
    answer = await run_in(area, here, command("fetch", model, "--json"))
    found = answer.document
    with area:
        if not isinstance(found, dict):
            output(answer.text, here.words("output"))
            return
        size = gib(found["bytes_to_download"])
        rows = {"model": found["model"], "licence": found["licence"] or "?", "download": size}
        table(["", ""], [(here.words(f"fetch.{name}"), str(value)) for name, value in rows.items()])
        if found["bytes_to_download"]:
            button(
                here.words("train.download"), lambda: print_in(area, here, command("fetch", model, "--yes"))
            )
