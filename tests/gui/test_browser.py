"""A walk through the page in Chromium: a diagnosis, a fix and its undo, a training with its curve, stop and resume; and faults that axe
finds, hostile names, foreign requests."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from tests.docs.test_site import CHROMIUM, DESKTOP, FLAGS, PHONE
from tests.gui.serving import ROOT, Served, serving

pytest.importorskip("nicegui", reason="the extra gui is not installed")
pytestmark = pytest.mark.browser
MACHINE = ROOT / "tests" / "machines" / "windows-cpu.json"
TINY = """
model:
  architecture: {model_type: gpt2, n_layer: 4, n_head: 4, n_embd: 128}
  tokenizer: byte
data: {max_length: 128}
training: {batch_size: 16, steps: 1000000, eval_every: 0, checkpoint_every: 0}
output: {output_dir: artifacts/tiny}
"""
HOSTILE = "<img src=x onerror='window.hacked=1'></script><script>window.hacked=1</script>`${window.hacked=1}`{{hacked=1}}"
LONG = 900_000  # milliseconds; only a page that hangs takes so long


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    if CHROMIUM is None:
        pytest.skip("Chromium is not installed")
    folder = tmp_path_factory.mktemp("ein Ordner ü")
    (folder / "tiny.yaml").write_text(TINY, encoding="utf-8")
    (folder / "text.txt").write_text("a short text to learn, again and again. " * 500, encoding="utf-8")
    hostile = folder / "artifacts" / "hostile"
    hostile.mkdir(parents=True)
    records = [
        {"event": "run_start", "step": 0, "config": {"model": {"name": HOSTILE}, "training": {"steps": 2}}},
        {"event": "train", "step": 1, "loss": 1.0, "backend": HOSTILE, "tokens_per_second": 1.0},
        {"event": "sample", "step": 1, "prompt": HOSTILE, "text": HOSTILE},
        {"event": "stopped", "step": 1, "reason": HOSTILE},
    ]
    lines = [json.dumps({"schema_version": 1, "ts": "2026-12-01T00:00:00Z", **each}) for each in records]
    (hostile / "metrics.jsonl").write_text("\n".join([*lines, ""]), encoding="utf-8")
    with serving(folder) as running:
        yield running


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    api = pytest.importorskip("playwright.sync_api")
    with api.sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield running
        running.close()


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

        beyond = self.tab.evaluate(
            "document.documentElement.scrollWidth - document.documentElement.clientWidth"
        )
        found = [*self.wrong, *[f"{beyond} pixels wider than the window"] * (beyond > 0)]
        self.tab.evaluate(AXE_SCRIPT)
        violations = self.tab.evaluate("axe.run({resultTypes: ['violations']})")["violations"]
        for each in violations:
            if each["impact"] in ("serious", "critical"):
                found += [f"{each['id']}: {node['html'][:200]}" for node in each["nodes"]]
        return found


def field(tab: Any, key: str) -> Any:
    return tab.locator(f'input[data-key="{key}"]')


def test_a_recorded_machine_is_diagnosed_and_a_fix_applied_and_undone(
    browser: Any, served: Served, tmp_path: Path
) -> None:
    environment = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(environment)], check=True)
    site = next(environment.rglob("site-packages"))
    (site / "~umpy").mkdir()
    (site / "~umpy" / "left.py").write_text("", encoding="utf-8")
    visit = Visit(browser, served)
    tab = visit.open("/doctor")
    tab.get_by_text("Options", exact=True).click()
    tab.get_by_label("Recorded machine").fill(str(MACHINE))
    tab.get_by_role("button", name="Diagnose", exact=True).click()
    tab.get_by_text("(recorded machine)").wait_for()
    assert tab.get_by_role("button", name=re.compile("^Fix")).count() == 0
    assert visit.faults() == []

    tab.get_by_label("Recorded machine").fill("")
    tab.get_by_label("Only these checks").fill("broken-distributions")
    tab.get_by_label("Another Python").fill(str(environment))
    tab.get_by_role("button", name="Diagnose", exact=True).click()
    tab.get_by_role("button", name="Fix … broken-distributions").click()
    dialog = tab.get_by_role("dialog", name="Plan")
    dialog.get_by_text("move-remains-aside").wait_for()
    assert (site / "~umpy").is_dir()
    dialog.get_by_role("button", name="Apply").click()
    tab.get_by_text("Nothing to fix.").wait_for()
    assert not (site / "~umpy").exists()
    dialog.get_by_role("button", name="Close").click()
    dialog.wait_for(state="hidden")
    tab.get_by_role("button", name="Undo the newest fix").click()
    undo = tab.get_by_role("dialog", name="Undo")
    undo.get_by_role("button", name="Apply").click()
    tab.get_by_role("button", name="Fix … broken-distributions").wait_for()
    assert (site / "~umpy" / "left.py").is_file()
    visit.context.close()


def test_a_training_is_checked_started_followed_stopped_and_resumed(browser: Any, served: Served) -> None:
    visit = Visit(browser, served)
    tab = visit.open("/train?config=tiny.yaml")
    start = tab.get_by_role("button", name="Start", exact=True)
    tab.get_by_text("No training data: set data.dataset_file").wait_for()
    assert start.is_disabled()
    field(tab, "dataset_file").fill("text.txt")
    field(tab, "window_size").fill("wide")
    tab.get_by_text("model.window_size = 'wide'").wait_for()
    assert start.is_disabled()
    field(tab, "window_size").fill("16")
    tab.get_by_text("A step needs about").wait_for()
    shown = tab.get_by_role("region", name="Command line").inner_text()
    words = (
        "train --config tiny.yaml --dataset-file text.txt --window-size 16 --stop-file artifacts/tiny/stop"
    )
    assert shown.endswith(words.replace("/", "\\") if sys.platform == "win32" else words)
    start.click()
    tab.wait_for_url("**/run?*")
    first = _step(tab)
    tab.wait_for_function("document.querySelectorAll('canvas').length >= 3")
    assert visit.faults() == []

    visit.context.close()  # the run goes on without the page
    visit = Visit(browser, served, PHONE, "dark")
    tab = visit.open(f"/run?{urlencode({'log': 'artifacts/tiny/metrics.jsonl'})}")
    assert _step(tab) > first
    tab.get_by_role("button", name="Stop after this step").click()
    _stopped(tab).wait_for()
    assert (served.folder / "artifacts" / "tiny" / "checkpoints" / "latest").is_file()
    stopped = int(re.sub(r"\D", "", _stopped(tab).inner_text()))
    assert visit.faults() == []
    tab.get_by_role("button", name="Resume").click()
    tab.wait_for_function(
        f"Number((document.body.innerText.match(/Running: step ([\\d,]+)/) || ['', '0'])[1].replace(/,/g, '')) > {stopped}"
    )
    tab.get_by_role("button", name="Stop after this step").click()
    _stopped(tab).wait_for()
    visit.context.close()


def _stopped(tab: Any) -> Any:
    return tab.locator("p.lead", has_text="Stopped after step")


def _step(tab: Any) -> int:
    """The step of the running run, once there is one."""
    sentence = tab.get_by_text(re.compile(r"^Running: step [1-9]"))
    sentence.wait_for()
    found = re.match(r"Running: step ([\d,]+)", sentence.inner_text())
    assert found
    return int(found[1].replace(",", ""))


@pytest.mark.long
def test_settings_are_measured_a_model_trained_with_them_talked_to_exported_and_deleted(
    browser: Any, served: Served
) -> None:
    """Two tabs at once: the second one follows what the first has started."""
    config = TINY.replace("steps: 1000000", "steps: 3").replace("artifacts/tiny", "artifacts/three")
    config = config.replace("batch_size: 16", "batch_size: 2").replace("n_layer: 4", "n_layer: 1")
    (served.folder / "three.yaml").write_text(config, encoding="utf-8")
    visit, second = Visit(browser, served), Visit(browser, served, PHONE)
    tab = visit.open("/optimize?config=three.yaml&dataset-file=text.txt&batch-sizes=1,2&test-duration=0.5")
    tab.get_by_role("button", name="Optimize settings").click()
    tab.get_by_role("button", name="Train with the recommended settings").click()
    tab.get_by_role("button", name="Start", exact=True).click()
    tab.wait_for_url("**/run?*")
    other = second.open(f"/run?{urlencode({'log': 'artifacts/three/metrics.jsonl'})}")
    for each in (tab, other):
        each.locator("p.lead", has_text="Finished: step 3.").wait_for()
    tab.get_by_role("button", name="Talk to it").click()
    tab.get_by_text("Options", exact=True).click()
    tab.get_by_label("Longest answer").fill("8")
    tab.get_by_role("button", name="Load the model").click()
    tab.get_by_text("Ready. Chat template: chatml").wait_for()
    tab.get_by_label("Message", exact=True).fill("Hello")
    tab.get_by_role("button", name="Send").click()
    tab.get_by_text(re.compile(r"^\d+ tokens, [\d.]+ tokens/s$")).wait_for()
    assert visit.faults() == []
    visit.open("/runs")
    tab.get_by_role("button", name="Export artifacts/three").click()
    tab.get_by_role("button", name="Export", exact=True).last.click()
    tab.get_by_text("Exported to").wait_for()
    exported = served.folder / "artifacts" / "three" / "export-plain"
    assert (exported / "model.safetensors").is_file()
    tab.get_by_role("button", name="Delete artifacts/three").click()
    tab.get_by_role("button", name="Delete", exact=True).last.click()
    tab.get_by_role("button", name="Delete artifacts/three").wait_for(state="detached")
    assert [path.name for path in exported.parent.iterdir()] == ["export-plain"]
    for each in (visit, second):
        each.context.close()


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
    visit = Visit(browser, served, PHONE, "dark")
    for path in ("/", "/install", "/train", "/runs", "/optimize", "/chat"):
        visit.open(path).wait_for_load_state("networkidle")
        assert visit.faults() == [], path
    visit.context.close()
