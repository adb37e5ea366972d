"""Chromium, and a page to visit with it, both started once."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.docs.test_site import CHROMIUM, FLAGS
from tests.gui.serving import Served, serving
from tests.gui.visiting import HOSTILE, TINY


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    if CHROMIUM is None:
        pytest.skip("Chromium is not installed")
    api = pytest.importorskip("playwright.sync_api")
    with api.sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield running
        running.close()


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
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
