"""Below a diagnosis: the explanation of a log, the report to share, and the Python environments of this machine."""

from __future__ import annotations

from nicegui import ui

from gui.command_view import print_in, run_in
from gui.diagnosis import Options
from gui.frame import Here, button, card, copy_button, heading, paragraph, row, table
from gui.operations import command
from gui.uploads import file_field


def explained_log(here: Here) -> None:
    words = here.words
    heading(words("doctor.log"))
    with card():
        paragraph(words("doctor.log_lead"))
        pasted = ui.textarea(words("doctor.log_paste")).props(
            "outlined autogrow input-style='max-height: 16rem'"
        )
        area = ui.element("div").classes("plain")
        area.set_visibility(False)

        async def explain(source: str, text: str = "") -> None:
            area.set_visibility(True)
            await print_in(area, here, command("doctor", "explain-log", source), text)

        with row():
            button(
                words("doctor.explain"), on_click=lambda: explain("-", str(pasted.value or "")), quiet=True
            )
        file_field(words("doctor.log_file"), lambda path: explain(str(path)))


def report_to_share(here: Here, options: Options) -> None:
    words = here.words
    heading(words("doctor.report"))
    with card():
        paragraph(words("doctor.report_lead"))
        area = ui.element("div").classes("plain")
        area.set_visibility(False)

        async def make() -> None:
            area.set_visibility(True)
            answer = await print_in(area, here, command("doctor", "report", *options.of_python))
            with area:
                copy_button(here, answer.out, words("doctor.copy_report"))

        with row():
            button(words("doctor.make_report"), on_click=make, quiet=True)


def environments(here: Here) -> None:
    words = here.words
    heading(words("doctor.environments"))
    with card():
        area = ui.element("div")

        async def find() -> None:
            asked = command("doctor", "environments", "--json")
            answer = await run_in(area, here, asked)
            with area:
                _environment_table(here, answer.document)

        with row():
            button(words("doctor.find_environments"), on_click=find, quiet=True)


def _environment_table(here: Here, document: object) -> None:
    words = here.words
    listed = document.get("environments", []) if isinstance(document, dict) else []
    rows = []
    for each in listed:
        versions = [f"Python {each['python'] or words('unknown')}"]
        versions += [f"torch {each['torch']}"] if each["torch"] else []
        versions += [f"{name} {version}" for name, version in each["packages"].items()]
        health = "; ".join([words(f"status.{each['status']}"), *each["problems"]])
        rows.append((each["path"], each["owner"], ", ".join(versions), health))
    if rows:
        headings = ("doctor.environment", "doctor.owner", "doctor.versions", "doctor.health")
        table([words(key) for key in headings], rows)
    else:
        paragraph(words("none"))
