"""The pages build without warnings, load nothing from elsewhere, and can be read and used in a browser.

In the continuous integration, a browser opens one page of each kind. `-m long` opens all of them.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import partial
from html.parser import HTMLParser
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urldefrag, urljoin

import pytest

from tests.chromium import DESKTOP, PHONE

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted("/".join(path.relative_to(DOCS).with_suffix("").parts) for path in DOCS.rglob("*.md"))
ONE_OF_EACH_KIND = (
    "index",
    "getting-started",
    "plugins",
    "checks/index",
    "checks/long-paths",
    "wheel-matrix",
)
VIEWS = [(PHONE, "dark"), (DESKTOP, "light")]
LOADED = re.compile(
    r"""<(?:script|img|iframe|source|video|audio)\b[^>]*\ssrc=["']?(?P<src>[^"'\s>]+)"""
    r"""|<link\b(?=[^>]*\srel=["']?(?:stylesheet|icon|preload|preconnect|dns-prefetch))[^>]*\shref=["']?(?P<href>[^"'\s>]+)"""
    r"""|(?:url\(|@import)\s*["']?(?P<css>[^"')]+)"""
)
# The texts of the boxes that are wider inside than outside
CUT = """boxes => [...document.querySelectorAll(boxes)]
    .filter(box => box.scrollWidth > box.clientWidth + 1).map(box => box.innerText)"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("material", reason="Material for MkDocs is not installed")
    folder = tmp_path_factory.mktemp("documentation") / "site"
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", folder],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return folder


def address(page: str) -> str:
    return page.removesuffix("index") if page.split("/")[-1] == "index" else f"{page}/"


class Links(HTMLParser):
    """The links and the anchors of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: set[str] = set()
        self.anchors: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.anchors.update(filter(None, (given.get("id"), given.get("name"))))
        if tag == "a" and given.get("href"):
            self.links.add(str(given["href"]))


def test_the_pages_build_without_a_warning(site: Path) -> None:
    assert len(PAGES) > 90
    assert all((site / address(page) / "index.html").is_file() for page in PAGES)


def test_every_link_and_anchor_in_the_site_exists(site: Path) -> None:
    pages = {address(page): Links((site / address(page) / "index.html").read_text("utf-8")) for page in PAGES}
    broken = []
    for page, content in pages.items():
        for link in content.links:
            target, anchor = urldefrag(urljoin(f"http://site/{page}", link))
            if not target.startswith("http://site/"):
                continue
            path = unquote(target.removeprefix("http://site/"))
            exists = path in pages or (site / path).is_file()
            if not exists or (anchor and path in pages and unquote(anchor) not in pages[path].anchors):
                broken.append(f"{page}: {link}")
    assert not broken


def test_no_path_loses_a_backslash(site: Path) -> None:
    pages = {page: (site / address(page) / "index.html").read_text("utf-8") for page in PAGES}
    assert [page for page, text in pages.items() if r"C:\aios.venv" in text] == []
    assert r"C:\aios\.venv" in pages["failures"] and r"C:\aios\.venv" in pages["checks/broken-distributions"]


def foreign(text: str) -> list[str]:
    addresses = (next(filter(None, match.groups())) for match in LOADED.finditer(text))
    return [found for found in addresses if re.match(r"(?:https?:)?//", found)]


@pytest.mark.parametrize(
    "text",
    [
        '<script src="https://cdn.example/x.js">',
        "<img alt=x src=//cdn.example/x.png>",
        '<link href="https://fonts.example/css" rel="stylesheet">',
        "<link rel=preconnect href=https://fonts.example crossorigin>",
        "@import 'https://fonts.example/css';",
        "src: url(https://fonts.example/x.woff2)",
    ],
)
def test_the_search_for_foreign_addresses_finds_them(text: str) -> None:
    assert foreign(text)


def test_no_page_loads_anything_from_elsewhere(site: Path) -> None:
    files = [path for path in site.rglob("*") if path.suffix in (".html", ".css", ".js")]
    assert {".html", ".css", ".js"} == {path.suffix for path in files}
    texts = {path.relative_to(site).as_posix(): path.read_text("utf-8") for path in files}
    pages = {name: foreign(text) for name, text in texts.items() if not name.endswith(".js")}
    assert {name: found for name, found in pages.items() if found} == {}
    networks = re.compile(r"https?://[\w.]*(?:unpkg|jsdelivr|cdnjs|googleapis|gstatic)\b")
    assert [name for name, text in texts.items() if networks.search(text)] == []


@pytest.fixture(scope="module")
def root(site: Path) -> Iterator[str]:
    """Serve the site on this machine."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(site))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


def faults(browser: Any, root: str, page: str, width: int, scheme: str) -> list[str]:
    """Open a page. Return what is wrong with it: foreign requests, errors, its width, and what axe calls serious.

    On a desktop nothing may be cut. On a phone, tables scroll in their boxes.
    """
    from axe_playwright_python.base import AXE_SCRIPT

    context = browser.new_context(
        viewport={"width": width, "height": 900}, color_scheme=scheme, reduced_motion="reduce"
    )
    tab = context.new_page()
    requests: list[str] = []
    messages: list[tuple[str, str]] = []
    tab.on("request", lambda request: requests.append(request.url))
    tab.on("console", lambda message: messages.append((message.type, message.text)))
    tab.on("pageerror", lambda error: messages.append(("error", str(error))))
    tab.goto(root + address(page))
    tab.wait_for_load_state("networkidle")
    beyond = tab.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    found = [url for url in requests if not url.startswith((root, "data:"))]
    found += [text for kind, text in messages if kind == "error"]
    found += [f"the page is {beyond} pixels wider than the window"] * (beyond > 0)
    boxes = "pre > code" if width == PHONE else "pre > code, .table"
    for cut in tab.evaluate(CUT, boxes):
        found.append(f"cut at its right: {cut[:200]}")
    tab.evaluate(AXE_SCRIPT)
    for violation in tab.evaluate("axe.run({resultTypes: ['violations']})")["violations"]:
        if violation["impact"] in ("serious", "critical"):
            found += [f"{violation['id']}: {node['html'][:200]}" for node in violation["nodes"]]
    context.close()
    return found


@pytest.mark.browser
@pytest.mark.parametrize(
    ("page", "view"), [(page, VIEWS[number % 2]) for number, page in enumerate(ONE_OF_EACH_KIND)]
)
def test_a_page_of_each_kind_in_a_browser(browser: Any, root: str, page: str, view: tuple[int, str]) -> None:
    assert faults(browser, root, page, *view) == []


@pytest.mark.browser
@pytest.mark.long
@pytest.mark.parametrize(
    "view", [(width, scheme) for width in (DESKTOP, PHONE) for scheme in ("light", "dark")]
)
@pytest.mark.parametrize("page", PAGES)
def test_every_page_in_a_browser(browser: Any, root: str, page: str, view: tuple[int, str]) -> None:
    assert faults(browser, root, page, *view) == []


@pytest.mark.browser
def test_a_wide_page_is_found(browser: Any, root: str, site: Path) -> None:
    text = (site / "security" / "index.html").read_text("utf-8")
    wide = '<div style="width: 2000px">wide</div><p style="color: #ccc; background: #ddd">faint</p></article>'
    (site / "wide").mkdir()
    (site / "wide" / "index.html").write_text(text.replace("</article>", wide), encoding="utf-8")
    found = faults(browser, root, "wide", PHONE, "light")
    assert any("pixels wider" in fault for fault in found) and any("contrast" in fault for fault in found)


@pytest.mark.browser
def test_a_cut_table_and_a_cut_command_are_found(browser: Any, root: str, site: Path) -> None:
    text = (site / "security" / "index.html").read_text("utf-8")
    table = f'<div class="table"><table><tr><td>{"HKLM" * 100}</td></tr></table></div>'
    command = f'<pre><code style="white-space: pre">aios {"train " * 100}</code></pre>'
    (site / "cut").mkdir()
    (site / "cut" / "index.html").write_text(
        text.replace("</article>", f"{table}{command}</article>"), encoding="utf-8"
    )
    for width, cut in ((DESKTOP, ["HKLM", "aios"]), (PHONE, ["aios"])):
        found = [
            fault for fault in faults(browser, root, "cut", width, "light") if fault.startswith("cut at")
        ]
        assert len(found) == len(cut) and all(map(str.__contains__, found, cut))
