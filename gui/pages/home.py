"""Home: this machine in a sentence, what is wrong first, and the next step."""

from __future__ import annotations

import shlex
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from urllib.parse import urlencode

from nicegui import ui

from doctor.capability import Capability, default_path, read
from doctor.commands.training_command import training_command
from doctor.models import Report
from doctor.report.wording import machine_lines, next_step
from gui.diagnosis import diagnose, diagnose_command, newest_report, open_findings
from gui.frame import PAGES, Here, button, card, command_line, folded, heading, page, paragraph, row, tag
from gui.operations import Command, command
from gui.texts import Words

EDGES = {"error": "bad-edge", "unknown": "warn-edge", "warning": "warn-edge"}


@page("/", "home")
def home(here: Here) -> None:
    heading(here.words("home.title"), 1)
    area = ui.element("div").classes("plain")
    report = newest_report()
    with area:
        if report:
            _show(here, report)
        else:
            paragraph(here.words("home.unknown"), "lead")
    progress = paragraph("", "dim").props("role=status")
    asked = diagnose_command()

    async def run() -> None:
        start.disable()
        progress.text = here.words("running")
        found = await diagnose(asked, lambda done: progress.set_text(f"{here.words('running')} {done}"))
        progress.text = ""
        start.enable()
        if found:
            area.clear()
            with area:
                _show(here, found)

    with row():
        start = button(here.words("home.again" if report else "home.diagnose"), run, quiet=bool(report))
    with folded(here.words("command")):
        command_line(here, asked)


def _show(here: Here, report: Report) -> None:
    words = here.words
    capability = read(default_path())
    known = capability if isinstance(capability, Capability) else None
    paragraph(sentence(words, report, known), "lead")
    for line in machine_lines(report):
        paragraph(line, "dim")
    when = datetime.fromisoformat(report.started_at.replace("Z", "+00:00")).astimezone()
    paragraph(words("home.checked", when=when.strftime("%Y-%m-%d %H:%M")), "dim")
    for reminder in report.reminders:
        paragraph(reminder, "warn")
    if known:
        _why(words, known)
    _first(here, report)
    _next(here, report)


def sentence(words: Words, report: Report, capability: Capability | None) -> str:
    """The GPU with its memory, torch, and the attention backend that training will use."""
    machine = report.machine
    gpu = ", ".join(machine.gpus) if machine.gpus else words("home.no_gpu")
    torch = f"torch {machine.torch}" if machine.torch else words("home.no_torch")
    backend = words("home.backend_unknown")
    if capability and capability.recommended:
        device = next(iter(capability.recommended.items()))
        for name in capability.recommended:
            if name != "cpu":
                device = name, capability.recommended[name]
                break
        backend = words("home.backend", backend=device[1], device=device[0])
    return words("home.machine", gpu=gpu, torch=torch, backend=backend)


def _why(words: Words, capability: Capability) -> None:
    with folded(words("home.why")), ui.element("ul"):
        for name, proven in capability.backends.items():
            reasons = "; ".join(proven.reasons) or ", ".join(proven.devices)
            tag("li", f"{name}: {proven.status}{f' ({reasons})' if reasons else ''}")


def _first(here: Here, report: Report) -> None:
    found = open_findings(report)
    if not found:
        paragraph(here.words("home.nothing_wrong"), "good")
        return
    heading(here.words("home.wrong"))
    with card(EDGES[found[0].status]):
        paragraph(found[0].summary)
        if found[0].impact:
            paragraph(found[0].impact, "dim")
        if len(found) > 1:
            ui.link(here.words("home.more", count=len(found) - 1), "/doctor")


def _next(here: Here, report: Report) -> None:
    """The last line of the report, as a button to the page that does it."""
    advised = next_step(report, (training_command(Path.cwd()),))
    if not advised.commands:
        return
    heading(here.words("home.next"))
    line = advised.commands[0]
    target, text = page_for(here.words, line)
    if target.partition("?")[0].lstrip("/") in PAGES:
        with row():
            button(text, lambda: ui.navigate.to(target))
    command_line(here, as_command(line))


def as_command(line: str) -> Command:
    """The command in a line that aios printed."""
    return command(*shlex.split(line.replace("\\", "/"))[1:])


def page_for(words: Words, line: str) -> tuple[str, str]:
    """The page that does what a command does, with its options, and what its button says."""
    name, *rest = as_command(line).words
    options = dict(pairwise(rest))
    if name == "install":
        return "/install", words("home.install")
    if name == "train":
        query = urlencode({"config": options["--config"]}) if "--config" in options else ""
        return f"/train?{query}", words("home.train")
    if name == "generate":
        return f"/chat?{urlencode({'checkpoint': options['--checkpoint']})}", words("home.chat")
    return "/doctor", words("home.open_doctor")
