"""docs/failures.md is what the table says today."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

from doctor.failures.table import failures

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "failures.md").read_text(encoding="utf-8")


def test_the_page_is_current() -> None:
    script = ROOT / "scripts" / "make_failure_page.py"
    spec = importlib.util.spec_from_file_location("make_failure_page", script)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.page(failures()) == PAGE, "run: python scripts/regenerate.py"


def test_every_failure_has_its_heading_and_every_check_its_page() -> None:
    headings = re.findall(r"^### (\w+) · .* \{#(\w+)\}$", PAGE, re.MULTILINE)
    assert headings == [(failure.id, failure.id.lower()) for failure in failures().failures]
    checks = set(re.findall(r"\]\((checks/[^)]+)\)", PAGE))
    assert checks and all((ROOT / "docs" / path).is_file() for path in checks)
