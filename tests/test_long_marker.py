"""Tests marked `long` run only when they are asked for."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MODULE = "import pytest\n\n@pytest.mark.long\ndef test_hours(): ...\n\ndef test_seconds(): ...\n"


@pytest.mark.parametrize(
    ("arguments", "collected"),
    [([], {"test_seconds"}), (["-m", "not wine"], {"test_seconds"}), (["-m", "long"], {"test_hours"})],
    ids=["default", "another-marker", "long"],
)
def test_the_marker_is_deselected_by_default(
    tmp_path: Path, arguments: list[str], collected: set[str]
) -> None:
    (tmp_path / "test_module.py").write_text(MODULE, encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-c", str(ROOT / "pyproject.toml"), "-p", "tests.conftest"]
    options = ["--collect-only", "--quiet", "-p", "no:cacheprovider", *arguments, str(tmp_path)]
    done = subprocess.run([*command, *options], cwd=ROOT, capture_output=True, text=True)
    assert {line.rpartition("::")[2] for line in done.stdout.splitlines() if "::" in line} == collected
