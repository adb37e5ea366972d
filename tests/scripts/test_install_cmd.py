"""`install.cmd` as a file. Its behavior is tested on Windows: `tests/wine/test_wine_install_cmd.py`."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "scripts" / "install.cmd"


def test_it_is_ascii_so_that_every_code_page_reads_it_the_same() -> None:
    assert SCRIPT.read_bytes().isascii()


def test_its_line_ends_are_crlf_in_every_checkout() -> None:
    """cmd does not find labels in a file with LF line endings."""
    content = SCRIPT.read_bytes()
    assert content.count(b"\n") == content.count(b"\r\n") > 100
    if not (ROOT / ".git").exists():
        pytest.skip("no git checkout")
    asked = ["git", "check-attr", "eol", "scripts/install.cmd"]
    assert subprocess.check_output(asked, cwd=ROOT, text=True).rstrip().endswith("eol: crlf")
