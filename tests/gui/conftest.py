"""The page that the tests visit, started once."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.gui.serving import Served, serving
from tests.gui.visiting import HOSTILE, TINY


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
