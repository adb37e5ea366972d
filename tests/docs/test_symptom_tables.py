"""The messages in the tables of the guides are recognized in a log as the failures that the tables link."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from doctor.failures.log import read
from doctor.failures.match import find
from doctor.failures.table import failures

DOCS = Path(__file__).parents[2] / "docs"
PAGES = ("flash-attn-windows", "comfyui", "troubleshooting")
ROW = re.compile(r"^\| `([^`]+)`([^|`]*) \|(.*failures\.md#.*)\|$", re.MULTILINE)


def rows(page: str) -> list[tuple[str, str, set[str]]]:
    """The page, a message, and the ids of the failures that its row links."""
    found = ROW.findall((DOCS / f"{page}.md").read_text(encoding="utf-8"))
    return [
        (page, message, {anchor.upper() for anchor in re.findall(r"failures\.md#(\w+)", rest)})
        for message, _, rest in found
    ]


@pytest.mark.parametrize(("page", "message", "linked"), [row for page in PAGES for row in rows(page)])
def test_a_message_is_recognized_as_a_failure_that_its_row_links(
    page: str, message: str, linked: set[str]
) -> None:
    seen = {sighting.failure.id for sighting in find(read(message.encode() + b"\n"), failures())}
    assert seen & linked


def test_the_tables_have_rows() -> None:
    assert [len(rows(page)) >= 5 for page in PAGES] == [True] * len(PAGES)
