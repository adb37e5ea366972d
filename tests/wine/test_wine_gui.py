"""`aios gui` on Windows: it serves its first page, and refuses a visitor without the token."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.wine.windows_box import HERE, Windows

pytestmark = pytest.mark.wine


def test_the_first_page_is_served(windows: Windows, tmp_path: Path) -> None:
    command = ["python", windows.path(HERE / "first_page.py")]
    done = windows.run(command, environment={"AIOS_HOME": windows.path(tmp_path / "state")})
    assert done.returncode == 0, done.stderr
    page = json.loads(done.stdout.decode().splitlines()[-1])
    assert (page["refused"], page["status"]) == (403, 200)
    assert '<html lang="en-US"' in page["body"] and "aios" in page["body"]
