"""Train: the form of a run, checked as it is filled, its memory before the start, and the start."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from nicegui import ui
from nicegui.elements.mixins.text_element import TextElement

from gui import jobs
from gui.command_view import print_in
from gui.form import ATTENTION, FIRST, KEYS, SWITCHED_OFF, Checked, Key, check, words
from gui.frame import (
    Here,
    button,
    card,
    command_line,
    folded,
    heading,
    page,
    paragraph,
    row,
)
from gui.known_runs import STOP, remove_stop_file
from gui.operations import Command, command
from gui.pages.before_start import BeforeStart
from gui.pages.data_preview import look_up_model, preview_data
from gui.uploads import file_field

SECTIONS = ("model", "data", "training", "output")


class Form:
    """The fields of a run, what was entered, and what is wrong with it.

    Attributes:
        entered: by key, what differs from the configuration file, or from the defaults.
    """

    def __init__(self, here: Here) -> None:
        self.here, self.config_file = here, here.query.get("config", "")
        self.entered: dict[str, str | bool] = {}
        self.checked = Checked(None)
        self._initial: dict[str, str | bool] = {}
        self._wrong: dict[str, TextElement] = {}
        self._inputs: dict[str, Any] = {}
        self._build()

    @property
    def options(self) -> tuple[str, ...]:
        return words(self.config_file, self.entered)

    def _build(self) -> None:
        text = self.here.words
        file = ui.input(text("train.config"), value=self.config_file)
        file.on("change", lambda: self._use_file(str(file.value or "").strip()))
        paragraph(text("train.config_help"), "help")
        self._fields = ui.element("div").classes("plain")
        self._general = paragraph("", "wrong").props("role=alert")
        self._before = BeforeStart(self.here, lambda: self.options)
        heading(text("command"))
        self._command = ui.element("div")
        with row():
            self._start = button(text("train.start"), self._start_run)
            button(text("train.check"), self._dry_run, quiet=True)
            button(text("optimize.start"), self._optimize, quiet=True)
        self._answer = ui.element("div").classes("plain")
        self._use_file(self.config_file)

    def _use_file(self, file: str) -> None:
        """Show the values of a configuration file, and forget what was entered."""
        self.config_file, self.entered = file, {}
        config = check(file, {}).config if file else None
        self._initial = {name: key.initial(config) for name, key in KEYS.items()}
        self._fields.clear()
        self._wrong = {}
        text = self.here.words
        with self._fields:
            heading(text("train.what"))
            self._group(FIRST)
            self._data_and_model()
            heading(text("train.settings"))
            self._group(ATTENTION)
            for section in SECTIONS:
                with folded(text("train.more", section=section)):
                    shown = (*FIRST, *ATTENTION)
                    self._group([n for n, key in KEYS.items() if key.section == section and n not in shown])
        self._validate()

    def _group(self, names: Any) -> None:
        with ui.element("div").classes("fields"):
            for name in names:
                self._field(KEYS[name])

    def _field(self, key: Key) -> None:
        label = f"field.{key.name}"
        text = self.here.words(label) if self.here.words.has(label) else key.name
        value = self._initial[key.name]
        with ui.element("div").classes("field"):
            element: Any
            if key.is_switch or key.name == SWITCHED_OFF:
                element = ui.checkbox(text, value=bool(value))
            elif key.is_three_way:
                choices = {name: self.here.words(f"train.{name or 'default'}") for name in ("", "yes", "no")}
                element = ui.select(choices, value=value, label=text)
            elif key.choices:
                element = ui.select(list(key.choices), value=value, label=text)
            else:
                element = ui.input(text, value=str(value)).props("autocomplete=off")
            self._inputs[key.name] = element
            element.on_value_change(lambda event: self._enter(key, event.value))
            element.props(f'data-key="{key.name}"')
            paragraph(key.help, "help")
            self._wrong[key.name] = paragraph("", "wrong").props("role=alert")

    def _enter(self, key: Key, value: Any) -> None:
        entered: str | bool = value if isinstance(value, bool) else str(value or "")
        if entered == self._initial[key.name]:
            self.entered.pop(key.name, None)
        else:
            self.entered[key.name] = key.given(entered)
        self._validate()

    def _validate(self) -> None:
        self.checked = check(self.config_file, self.entered)
        for name, element in self._wrong.items():
            message = self.checked.wrong.get(name, "")
            if element.text != message:
                element.text = message
        self._general.text = "\n".join(self.checked.general)
        self._start.set_enabled(self.checked.config is not None)
        self._command.clear()
        with self._command:
            command_line(self.here, self._train())
        self._before.refresh(self.checked.config)

    def _train(self) -> Command:
        """The command that starts the run. The stop file is how the page stops it after a step."""
        stop: tuple[str, ...] = ()
        if "stop_file" not in self.entered and not self._initial["stop_file"]:
            stop = ("--stop-file", str(self._folder / STOP))
        return command("train", *self.options, *stop)

    @property
    def _folder(self) -> Path:
        config = self.checked.config
        return config.output.output_dir if config else Path("artifacts", "train")

    def _optimize(self) -> None:
        """Go to the page that measures settings, with this model and these data."""
        chosen = {"model": self._value("name"), "dataset-file": self._value("dataset_file")}
        given = {"config": self.config_file, **chosen}
        ui.navigate.to(f"/optimize?{urlencode({name: value for name, value in given.items() if value})}")

    def _value(self, name: str) -> str:
        value = str(self.entered.get(name) or self._initial[name])
        return "" if value == "none" else value

    async def _dry_run(self) -> None:
        await print_in(self._answer, self.here, command("train", *self.options, "--dry-run"))

    async def _start_run(self) -> None:
        config = self.checked.config
        if config is None:
            return
        asked = self._train()
        remove_stop_file(asked)
        jobs.start(asked, str(config.log_file))
        ui.navigate.to(f"/run?{urlencode({'log': str(config.log_file)})}")

    def _data_and_model(self) -> None:
        text = self.here.words
        with card():
            area = ui.element("div").classes("plain")

            async def dropped(path: Path) -> None:
                self._inputs["dataset_file"].value = str(path)
                await preview()

            async def preview() -> None:
                data = self._value("dataset_file")
                await preview_data(
                    self.here, area, command("data", "preview", data, *self._tokenizer(), "--json")
                )

            async def look_up() -> None:
                await look_up_model(self.here, area, self._value("name"))

            file_field(text("train.upload"), dropped)
            with row():
                button(text("train.preview"), preview, quiet=True)
                button(text("train.fetch"), look_up, quiet=True)
            area.move(target_index=-1)

    def _tokenizer(self) -> list[str]:
        """The options of the preview that the run has, too."""
        shared = ("name", "tokenizer", "data_format", "text_field", "train_on", "chat_template", "max_length")
        values = {name: self.entered.get(name, self._initial[name]) for name in shared}
        return [
            part
            for name, value in values.items()
            if value and value != "none" and str(value) != str(KEYS[name].field.default)
            for part in (f"--{name.replace('_', '-')}", str(value))
        ]


@page("/train", "train")
def train(here: Here) -> None:
    heading(here.words("train.title"), 1)
    paragraph(here.words("train.lead"))
    Form(here)
