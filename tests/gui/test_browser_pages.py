"""Every page in Chromium: faults that axe finds, the keyboard, hostile names."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

import pytest

from tests.chromium import DESKTOP, PHONE
from tests.gui.serving import Served
from tests.gui.visiting import HOSTILE, Visit

pytest.importorskip("nicegui", reason="the extra gui is not installed")
pytestmark = pytest.mark.browser
RUN = f"/run?{urlencode({'log': 'artifacts/hostile/metrics.jsonl'})}"
PAGES = ("/", "/doctor", "/install", "/train", "/runs", RUN, "/optimize", "/chat")
UNFOLD = "document.querySelectorAll('details').forEach((each) => { each.open = true; })"
# Numbers what a person can operate, and returns how many there are. A disabled control is not to be reached.
CONTROLS = """() => { const all = [...document.querySelectorAll('a[href], button, input, select, textarea, summary, [tabindex="0"]')]
    .filter((each) => each.checkVisibility() && !each.disabled && !each.closest('[inert], [aria-hidden="true"], .disabled')
        && each.tabIndex >= 0);
    all.forEach((each, i) => each.dataset.number = i); return all.length; }"""
# The number of the focused control, its name, and whether it or what it is part of has an outline or a ring of two pixels
FOCUSED = """() => { const at = document.activeElement; const shown = (each) => { const style = getComputedStyle(each);
    return style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) >= 2 || / 5px\\b/.test(style.boxShadow); };
    let part = at; while (part && !part.classList.contains('content') && !shown(part)) part = part.parentElement;
    const outlined = part && part !== document.body && !part.classList.contains('content');
    return [at.dataset.number === undefined ? null : Number(at.dataset.number), at.outerHTML.slice(0, 200), Boolean(outlined)]; }"""


def test_hostile_names_stay_text(browser: Any, served: Served) -> None:
    visit = Visit(browser, served)
    for path in (f"/run?{urlencode({'log': 'artifacts/hostile/metrics.jsonl'})}", "/runs"):
        tab = visit.open(path)
        tab.get_by_text("window.hacked=1").first.wait_for()
        assert visit.faults() == []
    for path in (f"/train?{urlencode({'config': HOSTILE})}", f"/run?{urlencode({'log': HOSTILE})}"):
        visit.open(path)
    tab.wait_for_load_state("networkidle")
    assert tab.evaluate("window.hacked") is None


def test_no_page_has_a_serious_fault_on_a_phone_in_the_dark(browser: Any, served: Served) -> None:
    assert faults(browser, served, PHONE, "dark") == {}


@pytest.mark.long
@pytest.mark.parametrize(("width", "theme"), [(PHONE, "light"), (DESKTOP, "light"), (DESKTOP, "dark")])
def test_no_page_has_a_serious_fault_in_any_view(
    browser: Any, served: Served, width: int, theme: str
) -> None:
    assert faults(browser, served, width, theme) == {}


def faults(browser: Any, served: Served, width: int, theme: str) -> dict[str, list[str]]:
    """Open every page, with its parts unfolded. Return the faults of those that have any."""
    visit, found = Visit(browser, served, width, theme), {}
    for path in PAGES:
        tab = visit.open(path)
        tab.wait_for_load_state("networkidle")
        tab.evaluate(UNFOLD)
        if wrong := visit.faults():
            found[path] = wrong
    visit.context.close()
    return found


@pytest.mark.parametrize("path", ["/train?config=tiny.yaml", RUN])
def test_the_keyboard_reaches_every_control_and_shows_where_it_is(
    browser: Any, served: Served, path: str
) -> None:
    visit = Visit(browser, served)
    tab = visit.open(path)
    tab.wait_for_load_state("networkidle")
    tab.evaluate(UNFOLD)
    tab.evaluate("document.activeElement.blur(); window.scrollTo(0, 0)")
    count = tab.evaluate(CONTROLS)
    reached, hidden = set(), []
    for _ in range(count + 20):
        tab.keyboard.press("Tab")
        number, name, visible = tab.evaluate(FOCUSED)
        if number in reached:
            break
        if number is not None:
            reached.add(number)
            hidden += [] if visible else [name]
    assert count > 10 and reached == set(range(count))
    assert hidden == []
    visit.context.close()


def test_escape_closes_a_dialog(browser: Any, served: Served) -> None:
    visit = Visit(browser, served)
    tab = visit.open("/doctor")
    opener = tab.get_by_role("button", name="Undo the newest fix")
    opener.focus()
    tab.keyboard.press("Enter")
    dialog = tab.get_by_role("dialog", name="Undo")
    dialog.wait_for()
    tab.wait_for_function("document.activeElement.closest('.q-dialog')")
    tab.keyboard.press("Escape")
    dialog.wait_for(state="hidden")
    assert not dialog.is_visible() and visit.wrong == []
    visit.context.close()
