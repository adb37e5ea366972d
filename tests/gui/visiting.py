"""A visitor of the page: a tab in Chromium that notes errors, foreign requests, and what axe finds."""

from __future__ import annotations

from typing import Any

from tests.chromium import DESKTOP
from tests.gui.serving import Served

TINY = """
model:
  architecture: {model_type: gpt2, n_layer: 4, n_head: 4, n_embd: 128}
  tokenizer: byte
data: {max_length: 128}
training: {batch_size: 16, steps: 1000000, eval_every: 0, checkpoint_every: 0}
output: {output_dir: artifacts/tiny}
"""
HOSTILE = "<img src=x onerror='window.hacked=1'></script><script>window.hacked=1</script>`${window.hacked=1}`{{hacked=1}}"
# The elements that make the page wider than the window
BEYOND = """() => { const root = document.documentElement; if (root.scrollWidth <= root.clientWidth) return [];
    return ['the page', ...[...document.querySelectorAll('body *')]
        .filter((each) => each.getBoundingClientRect().right > root.clientWidth + 0.5).map((each) => each.outerHTML.slice(0, 200))]; }"""
LONG = 900_000  # milliseconds; only a page that hangs takes so long


class Visit:
    """A tab of a new visitor; collects errors and requests to other servers."""

    def __init__(self, browser: Any, served: Served, width: int = DESKTOP, theme: str = "light") -> None:
        self.context = browser.new_context(
            viewport={"width": width, "height": 720},
            color_scheme=theme,
            locale="en-US",
            reduced_motion="reduce",
        )
        self.tab = self.context.new_page()
        self.tab.set_default_timeout(LONG)
        self.wrong: list[str] = []
        root = f"http://127.0.0.1:{served.port}"
        self.tab.on(
            "request", lambda r: None if r.url.startswith((root, "data:")) else self.wrong.append(r.url)
        )
        self.tab.on("pageerror", lambda error: self.wrong.append(str(error)))
        self.tab.on("console", lambda m: self.wrong.append(m.text) if m.type == "error" else None)
        self.root = root
        self.tab.goto(served.address)

    def open(self, path: str) -> Any:
        self.tab.goto(self.root + path)
        self.tab.wait_for_selector("h1")
        return self.tab

    def faults(self) -> list[str]:
        """Errors, foreign requests, an overwide page, and what axe calls serious."""
        from axe_playwright_python.base import AXE_SCRIPT

        found = [*self.wrong, *(f"wider than the window: {each}" for each in self.tab.evaluate(BEYOND))]
        self.tab.evaluate(AXE_SCRIPT)
        violations = self.tab.evaluate("axe.run({resultTypes: ['violations']})")["violations"]
        for each in violations:
            if each["impact"] in ("serious", "critical"):
                found += [f"{each['id']}: {node['html'][:200]}" for node in each["nodes"]]
        return found


def field(tab: Any, key: str) -> Any:
    """A field of the form of a training, by its key in a configuration."""
    return tab.locator(f'input[data-key="{key}"]')
