"""What all pages share: the heading with the navigation, language and theme, and the parts that pages are made of."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from fastapi import Request
from nicegui import ui
from nicegui.elements.mixins.text_element import TextElement

from gui.operations import Command
from gui.texts import LANGUAGES, Words, preferred

STYLE = Path(__file__).with_name("style.css").read_text(encoding="utf-8")
PAGES = ("home", "doctor", "install", "train", "runs", "optimize", "chat")
THEMES = ("auto", "light", "dark")
QUASAR: dict[str, Any] = {"en": "en-US", "de": "de-DE", "zh": "zh-CN"}
LANGUAGE_COOKIE, THEME_COOKIE = "aios-language", "aios-theme"


@dataclass(frozen=True)
class Here:
    """A visit to a page.

    Attributes:
        words: the texts, in the visitor's language.
        query: the parameters of the address.
    """

    words: Words = field(default_factory=Words)
    theme: str = "auto"
    query: Mapping[str, str] = field(default_factory=dict)


_here: ContextVar[Here] = ContextVar("here", default=Here())  # noqa: B039 - frozen
Build = Callable[[Here], None]


class _Page(ui.page):
    """A page in the language and the theme of its visitor, which the page's function has stored for this request."""

    def resolve_language(self) -> Any:
        return QUASAR[_here.get().words.language]

    def resolve_dark(self) -> bool | None:
        return {"light": False, "dark": True}.get(_here.get().theme)


def page(path: str, name: str) -> Callable[[Build], Build]:
    """Serve a function's content at a path, in the frame. `name`: its part of the navigation."""

    def decorate(build: Build) -> Build:
        @_Page(path)
        def show(request: Request) -> None:
            here = _visit(request)
            _here.set(here)
            ui.context.client.title = f"{here.words(f'nav.{name}')} · aios"
            with _frame(here, name):
                build(here)

        return build

    return decorate


def _visit(request: Request) -> Here:
    language = preferred(request.cookies.get(LANGUAGE_COOKIE), request.headers.get("accept-language", ""))
    theme = request.cookies.get(THEME_COOKIE, "auto")
    return Here(Words(language), theme if theme in THEMES else "auto", dict(request.query_params))


@contextmanager
def _frame(here: Here, name: str) -> Iterator[None]:
    words = here.words
    ui.colors(primary="#1f4fb3")
    with ui.header(fixed=False, bordered=True, wrap=True):
        tag("span", "aios", "name")
        with ui.element("nav").props(f'aria-label="{words("pages")}"'):
            for each in PAGES:
                link = ui.link(words(f"nav.{each}"), "/" if each == "home" else f"/{each}")
                if each == name:
                    link.props('aria-current="page"')
        _choice(words("language"), LANGUAGES, words.language, LANGUAGE_COOKIE)
        themes = {each: words(f"theme.{each}") for each in THEMES}
        _choice(words("theme"), themes, here.theme, THEME_COOKIE)
    with ui.element("div").classes("content"):
        yield


def _choice(label: str, options: Mapping[str, str], chosen: str, cookie: str) -> None:
    """A native list that stores the choice in a cookie, and reloads the page."""
    with ui.element("select").props(f'aria-label="{label}"').classes("choice") as choice:
        for value, shown in options.items():
            option = TextElement(tag="option", text=shown).props(f'value="{value}"')
            if value == chosen:
                option.props("selected")
    choice.on(
        "change",
        js_handler=f"(e) => {{ document.cookie = '{cookie}=' + e.target.value + '; SameSite=Strict; Path=/; "
        "Max-Age=31536000'; location.reload(); }",
    )


def tag(name: str, text: str = "", classes: str = "") -> TextElement:
    """An HTML element that contains a text. It is never read as HTML."""
    element = TextElement(tag=name, text=text)
    return element.classes(classes) if classes else element


def heading(text: str, level: Literal[1, 2, 3] = 2) -> TextElement:
    return tag(f"h{level}", text)


def paragraph(text: str, classes: str = "") -> TextElement:
    return tag("p", text, classes)


@contextmanager
def card(classes: str = "") -> Iterator[ui.element]:
    with ui.element("section").classes(f"card {classes}") as element:
        yield element


@contextmanager
def row() -> Iterator[ui.element]:
    with ui.element("div").classes("row-of") as element:
        yield element


@contextmanager
def folded(title: str, opened: bool = False) -> Iterator[ui.element]:
    """A part that is folded until its title is clicked."""
    with ui.element("details") as element:
        if opened:
            element.props("open")
        tag("summary", title)
        yield element


def output(text: str, label: str) -> TextElement:
    """The output of a program, in a box that the keyboard can scroll."""
    return tag("pre", text).props(f'tabindex=0 role=region aria-label="{label}"')


def command_line(here: Here, shown: Command) -> None:
    """The command line that a button runs or has run, with a button to copy it."""
    with ui.element("div").classes("command"):
        output(shown.shown, here.words("command"))
        copy_button(here, shown.shown)


def button(text: str, on_click: Callable[..., Any] | None = None, *, quiet: bool = False) -> ui.button:
    """A button; a `quiet` one for what a visitor needs less often."""
    if quiet:
        return ui.button(text, on_click=on_click, color=None).props("outline no-caps")
    return ui.button(text, on_click=on_click).props("unelevated no-caps")


def copy_button(here: Here, text: str, label: str = "") -> None:
    """A button that copies a text. `label`: what is copied, where an icon does not say it."""

    def copy() -> None:
        ui.clipboard.write(text)
        ui.notify(here.words("copied"))

    if label:
        with row():
            button(label, copy, quiet=True)
        return
    ui.button(icon="content_copy", on_click=copy, color=None).props(
        f'flat dense aria-label="{here.words("copy")}"'
    )


def table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> ui.element:
    """A plain table of texts, which scrolls by itself where it is wider than the page."""
    with ui.element("div").classes("scroll").props("tabindex=0") as element, ui.element("table"):
        with ui.element("thead"), ui.element("tr"):
            for text in headings:
                tag("th", text).props("scope=col")
        with ui.element("tbody"):
            for each in rows:
                with ui.element("tr"):
                    for text in each:
                        tag("td", text)
    return element
