"""A command that runs while the visitor waits: its command line in an area of the page, then its answer."""

from __future__ import annotations

from nicegui import ui

from gui.frame import Here, command_line, output, paragraph
from gui.operations import Answer, Command, ask


async def run_in(area: ui.element, here: Here, asked: Command, stdin: str = "") -> Answer:
    """Show the command line in an area, which is emptied first, and return the answer."""
    area.clear()
    with area:
        command_line(here, asked)
        waiting = paragraph(here.words("running"), "dim").props("role=status")
    answer = await ask(asked, stdin)
    waiting.delete()
    return answer


async def print_in(area: ui.element, here: Here, asked: Command, stdin: str = "") -> Answer:
    """Show the command line in an area, and then what the command prints; returns the answer."""
    answer = await run_in(area, here, asked, stdin)
    with area:
        output(answer.text, here.words("output"))
    return answer
