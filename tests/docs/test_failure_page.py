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


def test_every_test_and_page_in_the_table_exists() -> None:
    for path in set(re.findall(r"`(tests/[^`]+)`", PAGE)):
        assert (ROOT / path).is_file(), path
    for path in set(re.findall(r"\]\((checks/[^)]+)\)", PAGE)):
        assert (ROOT / "docs" / path).is_file(), path
