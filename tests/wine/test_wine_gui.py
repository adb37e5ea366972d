"""`aios gui` on Windows: it serves its first page, refuses a visitor without the token, and starts a training in the page."""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.chromium import running_chromium
from tests.gui.serving import Served
from tests.gui.visiting import TINY, Visit, field
from tests.wine.serve_page import ADDRESS, END
from tests.wine.windows_box import HERE, LONGER_THAN_ANY, Windows

pytestmark = pytest.mark.wine


def test_the_first_page_is_served(windows: Windows, tmp_path: Path) -> None:
    command = ["python", windows.path(HERE / "first_page.py")]
    done = windows.run(command, environment={"AIOS_HOME": windows.path(tmp_path / "state")})
    assert done.returncode == 0, done.stderr
    page = json.loads(done.stdout.decode().splitlines()[-1])
    assert (page["refused"], page["status"]) == (403, 200)
    assert '<html lang="en-US"' in page["body"] and "aios" in page["body"]


@contextmanager
def page_of(windows: Windows, workplace: Path) -> Iterator[Served]:
    """`aios gui` of the Windows Python, in the folder. Under Wine its loopback address is that of this machine."""
    command = ["python", windows.path(HERE / "serve_page.py"), windows.path(workplace)]
    options = {"environment": {"AIOS_HOME": windows.path(workplace / "state")}}
    program = threading.Thread(target=windows.run, args=(command,), kwargs=options)
    program.start()
    try:
        end = time.monotonic() + LONGER_THAN_ANY
        while not (workplace / ADDRESS).exists():
            assert program.is_alive() and time.monotonic() < end, "aios gui has ended"
            time.sleep(0.1)
        yield Served((workplace / ADDRESS).read_text(encoding="utf-8"), workplace)
    finally:
        (workplace / END).touch()
        program.join()


def test_a_training_is_started_and_stopped_in_the_page(windows: Windows, workplace: Path) -> None:
    (workplace / "tiny.yaml").write_text(TINY, encoding="utf-8")
    (workplace / "text.txt").write_text("a short text to learn, again and again. " * 500, encoding="utf-8")
    with running_chromium() as browser, page_of(windows, workplace) as served:
        visit = Visit(browser, served)
        tab = visit.open("/train?config=tiny.yaml")
        field(tab, "dataset_file").fill("text.txt")
        tab.get_by_role("button", name="Start", exact=True).click()
        tab.get_by_text(re.compile(r"^Running: step [1-9]")).wait_for()
        tab.get_by_role("button", name="Stop after this step").click()
        tab.get_by_text(re.compile(r"^Stopped after step [1-9]")).wait_for()
        assert visit.wrong == []
    assert (workplace / "artifacts" / "tiny" / "checkpoints" / "latest").is_file()
