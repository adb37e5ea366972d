"""The page on a machine full of personal data: no secret is in what the browser gets, or in what the page keeps."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.doctor.canaries import CREDENTIALS, content_of, make_home
from tests.gui.serving import HOME, serving

pytest.importorskip("nicegui", reason="the extra gui is not installed")
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the folders and pip.conf are those of Linux")
PAGES = ("/", "/doctor", "/install", "/train", "/runs", "/optimize", "/chat")


def test_no_secret_is_in_a_page(tmp_path: Path) -> None:
    home = make_home(tmp_path)
    variables = {**home.variables(), "NO_PROXY": "127.0.0.1"}
    with serving(home.folder, variables=variables) as served:
        told = "".join(served.text(path) for path in PAGES)
    told += content_of(home.folder / HOME) + (home.folder / "errors.txt").read_text(encoding="utf-8")
    assert len(told) > 10_000
    assert [secret for secret in CREDENTIALS if secret in told] == []
