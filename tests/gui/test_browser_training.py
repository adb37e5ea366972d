"""A training in Chromium: the form, the preview of data, start, curve, stop, resume; optimize, chat, export, delete."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from tests.chromium import PHONE
from tests.gui.serving import Served
from tests.gui.visiting import TINY, Visit, field

pytest.importorskip("nicegui", reason="the extra gui is not installed")
pytestmark = pytest.mark.browser


def test_what_is_learned_of_dropped_data_is_marked(browser: Any, served: Served, tmp_path: Path) -> None:
    answers = ["blue", "wet ü <b>"]
    data = tmp_path / "sky {{x}}.jsonl"
    data.write_text(
        "".join(
            json.dumps(
                {
                    "messages": [
                        {"role": "user", "content": f"Question {i}"},
                        {"role": "assistant", "content": each},
                    ]
                }
            )
            + "\n"
            for i, each in enumerate(answers)
        ),
        encoding="utf-8",
    )
    visit = Visit(browser, served)
    tab = visit.open("/train?config=tiny.yaml")
    tab.get_by_label("Or drop a data file").set_input_files(data)
    shown = tab.get_by_role("region", name="Preview the data")
    shown.first.wait_for()
    marked = [each for part in shown.all() for each in part.locator("mark").all_inner_texts()]
    assert [each.partition("<|im_end|>")[0] for each in marked] == answers
    assert all(f"Question {i}" in each.inner_text() for i, each in enumerate(shown.all()))
    assert field(tab, "dataset_file").input_value() == str(Path("artifacts", "uploads", data.name))
    assert visit.faults() == []
    visit.context.close()


def test_the_time_to_the_end_is_measured_before_the_start(browser: Any, served: Served) -> None:
    visit = Visit(browser, served)
    tab = visit.open("/train?config=tiny.yaml")
    field(tab, "dataset_file").fill("text.txt")
    tab.get_by_text(re.compile("^Attention: .*SDPA")).wait_for()
    field(tab, "steps").fill("7200000")
    tab.get_by_role("button", name="Measure the time").click()
    sentence = tab.get_by_text(re.compile("^Measured: "))
    sentence.wait_for()
    found = re.search(r"([\d.]+) s a step.*7,200,000 steps take about (\d+) h", sentence.inner_text())
    assert found and int(found[2]) == pytest.approx(2000 * float(found[1]), rel=0.3)
    assert visit.faults() == []
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


def test_settings_are_measured_in_a_live_table_and_applied(browser: Any, served: Served) -> None:
    small(served, "two", "batch_size: 2")
    visit = Visit(browser, served)
    tab = visit.open("/optimize?config=two.yaml&dataset-file=text.txt&batch-sizes=1,2&test-duration=0.5")
    tab.get_by_role("button", name="Optimize settings").click()
    tab.get_by_role("heading", name="Measured so far").wait_for()
    first = tab.get_by_role("table").inner_text().splitlines()
    assert len(first) == 2 and re.match(
        r"2\t.*sdpa\t[\d,]+\t\d+ MiB", first[1]
    )  # the larger batch comes first
    tab.get_by_role("heading", name="Results").wait_for()
    table = tab.get_by_role("table").inner_text().splitlines()
    assert {row[0] for row in table[1:]} == {"1", "2"} and first[1].split("\t")[4] in "".join(table)
    assert visit.faults() == []
    tab.get_by_role("button", name="Train with the recommended settings").click()
    best = table[1].split("\t")[0].split(" ")[0]
    tab.get_by_label("Batch size", exact=True).wait_for()
    assert field(tab, "batch_size").input_value() == best
    assert tab.get_by_role("button", name="Start", exact=True).is_enabled()
    visit.context.close()


def small(served: Served, name: str, size: str, steps: int = 3) -> None:
    """A configuration of a model of one layer, that is trained in artifacts/NAME."""
    config = TINY.replace("steps: 1000000", f"steps: {steps}").replace("artifacts/tiny", f"artifacts/{name}")
    config = config.replace("batch_size: 16", size).replace("n_layer: 4", "n_layer: 1")
    (served.folder / f"{name}.yaml").write_text(config, encoding="utf-8")


def test_a_model_is_trained_in_two_tabs_talked_to_exported_and_deleted(browser: Any, served: Served) -> None:
    """Two tabs at once: the second one follows what the first has started."""
    small(served, "three", "batch_size: 2")
    visit, second = Visit(browser, served), Visit(browser, served, PHONE)
    tab = visit.open("/train?config=three.yaml")
    field(tab, "dataset_file").fill("text.txt")
    tab.get_by_role("button", name="Start", exact=True).click()
    tab.wait_for_url("**/run?*")
    other = second.open(f"/run?{urlencode({'log': 'artifacts/three/metrics.jsonl'})}")
    for each in (tab, other):
        each.locator("p.lead", has_text="Finished: step 3.").wait_for()
    tab.get_by_role("button", name="Talk to it").click()
    tab.get_by_text("Options", exact=True).click()
    tab.get_by_label("Longest answer").fill("8")
    tab.get_by_role("button", name="Load the model").click()
    tab.get_by_text(re.compile("^Ready. This model was trained without a chat template")).wait_for()
    tab.get_by_label("Message", exact=True).fill("Hello")
    tab.get_by_role("button", name="Send").click()
    tab.get_by_text(re.compile(r"^\d+ tokens, [\d.]+ tokens/s, [\d.]+ MiB of cache$")).wait_for()
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
