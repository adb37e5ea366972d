"""The pages in docs/checks are what the checks say today."""

from __future__ import annotations

import importlib.util
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_pages_are_current() -> None:
    script = ROOT / "scripts" / "make_check_pages.py"
    spec = importlib.util.spec_from_file_location("make_check_pages", script)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    on_disk = {p.name: p.read_text(encoding="utf-8") for p in (ROOT / "docs" / "checks").glob("*.md")}
    assert on_disk == module.pages(), "run: python scripts/regenerate.py"
