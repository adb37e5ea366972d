"""Runs in Chromium: their curves in one chart, and the differences of their settings."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.gui.serving import Served
from tests.gui.visiting import Visit

pytest.importorskip("nicegui", reason="the extra gui is not installed")
pytestmark = pytest.mark.browser
RATES = {"slow": 1e-4, "fast": 1e-3, "faster": 2e-3}
# The name and the number of points of each curve, by chart; false until all charts are drawn
SERIES = """() => { const charts = [...document.querySelectorAll('.chart')].map((each) => getElement(Number(each.id.slice(1))).chart);
    return charts.length > 0 && charts.every(Boolean)
        && charts.map((each) => each.getOption().series.map((one) => [one.name, one.data.length])); }"""


def record(log: Path, rate: float) -> None:
    """A run of 30 steps with an evaluation."""
    log.parent.mkdir(parents=True)
    head = {"schema_version": 1, "ts": "2026-12-01T00:00:00Z"}
    records: list[dict[str, Any]] = [
        {"event": "run_start", "step": 0, "config": {"training": {"steps": 30, "learning_rate": rate}}}
    ]
    for step in range(1, 31):
        records.append(
            {
                "event": "train",
                "step": step,
                "loss": 5 - step * rate * 100,
                "tokens": 8,
                "tokens_per_second": 9.0,
            }
        )
    records += [
        {"event": "eval", "step": 30, "loss": 4.5},
        {"event": "run_end", "step": 30, "completed": True},
    ]
    lines = [json.dumps({**head, **each}) for each in records]
    log.write_text("\n".join([*lines, ""]), encoding="utf-8")


def test_curves_of_several_runs_are_in_one_chart(browser: Any, served: Served) -> None:
    folder = served.folder / "compared ü"
    for name, rate in RATES.items():
        record(folder / name / "metrics.jsonl", rate)
    visit = Visit(browser, served)
    tab = visit.open("/runs?folder=compared ü")
    names = [str(Path("compared ü", name)) for name in RATES]
    for name in names:
        tab.get_by_role("checkbox", name=f"Choose {name}", exact=True).click()
    tab.get_by_role("button", name="Compare", exact=True).click()
    tab.wait_for_function(SERIES)
    loss, held_out = tab.evaluate(SERIES)
    assert loss == [[name, 30] for name in names]
    assert held_out == [[name, 1] for name in names]
    answers = tab.get_by_role("region", name="Output")
    answers.nth(1).wait_for()
    for other, answer in zip(("fast", "faster"), answers.all(), strict=True):
        text = " ".join(answer.inner_text().split())
        assert f"training.learning_rate {RATES['slow']:g} {RATES[other]:g}" in text
    assert visit.faults() == []
    visit.context.close()
