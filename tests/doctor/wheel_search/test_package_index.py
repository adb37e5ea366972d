"""Index pages, which others write: only links to the web are followed."""

from __future__ import annotations

import pytest

from doctor.wheel_search.package_index import parse_listing

ADDRESS = "https://index.example/simple/torch/"
NAME = "torch-2.13.0-cp312-cp312-win_amd64.whl"


@pytest.mark.parametrize(
    "link",
    [
        f"file:///C:/Users/user/{NAME}",
        f"FILE:///etc/{NAME}",
        "file:///dev/zero",
        f"file:////server/share/{NAME}",
        f"ftp://server/{NAME}",
        f"data:text/plain,{NAME}",
        f"javascript:{NAME}",
        f"c:/{NAME}",
    ],
)
def test_links_to_anything_but_the_web_are_left_out(link: str) -> None:
    page = f'<a href="{link}#sha256={"0" * 64}">x</a><a href="../../files/{NAME}#sha256={"1" * 64}">y</a>'
    (found,) = parse_listing(page, ADDRESS)
    assert (found.url, found.sha256) == (f"https://index.example/files/{NAME}", "1" * 64)
