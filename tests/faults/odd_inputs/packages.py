"""Wheels in the user's --wheel-dir and pages of an index: hostile, damaged, of other programs."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
import threading
import zipfile
from collections.abc import Callable, Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote

from tests.doctor.install import stand_ins
from tests.doctor.install.fresh_environment import tree_of
from tests.faults.odd_inputs.trial import NOT_FILES, Odd, damaged, in_place_of
from tests.faults.preload import Ended

TORCH = "torch-2.15.0"
INFO = f"{TORCH}.dist-info"
Change = Callable[[Path], object]
_made: dict[str, Path] = {}


def environment(here: Path) -> Path:
    """An empty environment outside of the user's folder, made once and copied for each trial."""
    if "spare" not in _made:
        spare = here.parents[1] / "spare environment"
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(spare)], check=True)
        _made["spare"] = spare
    target = here.parents[1] / "environment"
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(_made["spare"], target, symlinks=True)
    return target


def wheels(chance: random.Random) -> Iterator[Odd]:
    """One torch in --wheel-dir, with what is odd about it."""
    yield _wheel("a good wheel", {}, "works")
    for name, files in _members().items():
        yield _wheel(name, files)
    for number in range(20):
        yield _wheel(f"damaged {number}", {}, "either", _damage(chance.random()))
    for kind in NOT_FILES:
        yield _wheel(kind, {}, "refused", lambda wheel, kind=kind: in_place_of(wheel, kind))  # type: ignore[misc]
    yield _wheel("an empty file", {}, "refused", lambda wheel: wheel.write_bytes(b""))
    yield _wheel("a text", {}, "refused", lambda wheel: wheel.write_bytes(b"<html>404</html>"))
    yield _wheel(
        "a comment behind it",
        {},
        "either",
        lambda wheel: wheel.write_bytes(wheel.read_bytes() + b"x" * 70_000),
    )
    yield _wheel(
        "another name inside",
        {},
        "refused",
        lambda wheel: wheel.rename(wheel.with_name(wheel.name.replace("2.15.0", "2.99.0"))),
    )
    yield _wheel(
        "a name with an escape",
        {},
        "either",
        lambda wheel: wheel.with_name("torch-\x1b[2J.whl").write_bytes(b""),
    )
    yield _wheel(
        "a name that is no wheel's",
        {},
        "either",
        lambda wheel: wheel.with_name("torch.whl").write_bytes(b"x"),
    )


def _members() -> dict[str, Mapping[str, str]]:
    metadata = f"{INFO}/METADATA"
    head = "Metadata-Version: 2.1\nName: torch\nVersion: 2.15.0\n"
    return {
        "a path outside": {"../../outside.txt": "x"},
        "an absolute path": {"/outside.txt": "x"},
        "a backslash": {"..\\..\\outside.txt": "x"},
        "a name of 300 letters": {f"torch/{'a' * 300}.py": "x"},
        "a name with a NUL": {"torch/a\0b.py": "x"},
        "a name with an escape": {"torch/\x1b[2Ja.py": "x"},
        "a name that Windows cannot hold": {"torch/a?b*.py": "x"},
        "an entry point outside": {f"{INFO}/entry_points.txt": "[console_scripts]\n../../NOTES.txt = torch:main\n"},
        "an entry point over python": {f"{INFO}/entry_points.txt": "[console_scripts]\npython = torch:main\n"},
        "a damaged entry point": {f"{INFO}/entry_points.txt": "[console_scripts\n= = =\n"},
        "data outside": {f"{TORCH}.data/data/../../../outside.txt": "x"},
        "data of an unknown kind": {f"{TORCH}.data/evil/x.txt": "x"},
        "a .pth file": {"evil.pth": "import os; os.system('touch evil')\n"},
        "METADATA of 70 MB": {metadata: head + "x" * (70 << 20)},
        "METADATA without a version": {metadata: "Name: torch\n"},
        "METADATA of another package": {metadata: head.replace("torch", "evil")},
        "METADATA of bytes": {metadata: "\udcff\udcfe" * 50},
        "METADATA with an escape": {metadata: head + "Requires-Dist: \x1b[2Jevil\n"},
        "10,000 requirements": {metadata: head + "".join(f"Requires-Dist: x{n}\n" for n in range(10_000))},
        "a requirement of itself": {metadata: head + "Requires-Dist: torch>=9\n"},
        "a requirement by address": {metadata: head + "Requires-Dist: evil @ file:///etc/passwd\n"},
        "a damaged RECORD": {f"{INFO}/RECORD": "a,b\n\"\0"},
        "a RECORD that leads outside": {f"{INFO}/RECORD": "../../../../notes.txt,,\n"},
        "a damaged WHEEL": {f"{INFO}/WHEEL": "\0"},
        "a WHEEL of version 99": {f"{INFO}/WHEEL": "Wheel-Version: 99.0\nTag: py3-none-any\n"},
        "two dist-info folders": {"torch-1.0.dist-info/METADATA": head},
    }  # fmt: skip


def _wheel(
    name: str, files: Mapping[str, str], expected: str = "either", change: Change | None = None
) -> Odd:
    seen: dict[str, object] = {}

    def prepare(here: Path) -> list[str]:
        target = environment(here)
        wheel = stand_ins.torch(here / "wheels", "2.15.0", None, requires=[])
        if files:
            _replace(wheel, files)
        if change:
            change(wheel)
        (here / "notes.txt").write_text("mine", encoding="utf-8")
        seen["before"] = tree_of(target)
        os.environ["AIOS_PYTORCH_INDEX"] = "http://127.0.0.1:9/whl"
        return ["install", "--python", str(target), "--offline", "--wheel-dir", "wheels", "--yes", "torch"]

    def check(here: Path, ended: Ended) -> str | None:
        same = tree_of(here.parents[1] / "environment") == seen["before"]
        return "status is not 0, but the environment has changed" if ended.status and not same else None

    return Odd(name, prepare, expected, check=check)  # type: ignore[arg-type]


def _replace(wheel: Path, files: Mapping[str, str]) -> None:
    """Write a wheel again, with these members added or replaced."""
    with zipfile.ZipFile(wheel) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    members |= {name: text.encode("utf-8", "surrogateescape") for name, text in files.items()}
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(zipfile.ZipInfo(name), content)


def _damage(seed: float) -> Change:
    return lambda wheel: wheel.write_bytes(damaged(wheel.read_bytes(), random.Random(seed)))


def index_pages(chance: random.Random) -> Iterator[Odd]:
    """Pages of PyTorch's index as a mirror may answer, for a plan."""
    wheel = f"torch-2.15.0-{stand_ins.NATIVE}.whl"
    links = {
        "a wrong hash": f'<a href="/f/{wheel}#sha256={"0" * 64}">x</a>',
        "no hash": f'<a href="/f/{wheel}">x</a>',
        "a hash that is none": f'<a href="/f/{wheel}#sha256=%0a--index-url">x</a>',
        "a file": f'<a href="file:///etc/{wheel}">x</a>',
        "a device": f'<a href="file:///dev/zero?/{wheel}">x</a>',
        "a share": f'<a href="file:////server/share/{wheel}">x</a>',
        "data": f'<a href="data:application/zip,x/{wheel}">x</a>',
        "FTP": f'<a href="ftp://127.0.0.1:1/{wheel}">x</a>',
        "a path outside": f'<a href="/f/..%2f..%2f{wheel}">x</a>',
        "a backslash": f'<a href="/f/..%5c..%5c{wheel}">x</a>',
        "an escape": f'<a href="/f/torch-2.15.0-%1b]0;x%07-{stand_ins.NATIVE}.whl">x</a>',
        "a version of 4,000 digits": f'<a href="/f/torch-2.{"9" * 4000}-{stand_ins.NATIVE}.whl">x</a>',
        "an override": '<a href="/f/torch-2.15.0\u202e.whl">x</a>',
    }
    pages = {name: text.encode() for name, text in links.items()} | {
        "nothing": b"",
        "bytes": chance.randbytes(50_000),
        "open links": b"<a " * 50_000,
        "open comments": b"<!--" * 50_000,
        "CDATA": b"<![CDATA[" * 20_000,
        "50,000 links": b'<a href="x.whl">x</a>' * 50_000,
        "JSON": b'{"files": [' + b"[" * 20_000,
        "UTF-16": "<a href='x'>".encode("utf-16"),
    }
    names = [*pages]
    for number in range(20):
        parts = [pages[chance.choice(names)][:4000] for _ in range(4)]
        pages[f"a mixture {number}"] = damaged(b"".join(parts), chance)
    for name, page in pages.items():
        yield Odd(name, _asks(page))


def _asks(page: bytes) -> Callable[[Path], list[str]]:
    def prepare(here: Path) -> list[str]:
        target = environment(here)
        (here / "notes.txt").write_text("mine", encoding="utf-8")
        os.environ |= {
            "AIOS_PYTORCH_INDEX": f"{_serve(page)}/whl",
            "NO_PROXY": "127.0.0.1",
            "PIP_CONFIG_FILE": os.devnull,
        }
        os.environ["PIP_INDEX_URL"] = "http://127.0.0.1:9/simple"
        return ["install", "--python", str(target), "--yes", "torch"]

    return prepare


_pages: dict[str, bytes] = {}


def _serve(page: bytes) -> str:
    """Answer every request with this page; return the server's address."""
    _pages["now"] = page
    if "address" not in _pages:
        server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        _pages["address"] = f"http://127.0.0.1:{server.server_port}".encode()
    return _pages["address"].decode()


class _Handler(BaseHTTPRequestHandler):
    def log_message(self, *arguments: object) -> None:
        """Print nothing."""

    def do_HEAD(self) -> None:
        self._answer(b"")

    def do_GET(self) -> None:
        self._answer(_pages["now"])

    def _answer(self, content: bytes) -> None:
        is_page = unquote(self.path).endswith("/torch/")
        self.send_response(200 if is_page else 404)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(content) if is_page else 0))
        self.end_headers()
        if is_page:
            self.wfile.write(content)
