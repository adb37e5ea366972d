"""Measure `aios gui`: the first page, an idle page, and the page of a run with 100,000 records.

python scripts/bench_gui.py [--records 100000] [--rounds 5] [--idle 20]

With Chromium and playwright, pages are also timed until they are drawn.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import psutil

ROOT = Path(__file__).absolute().parent.parent
CHROMIUM = shutil.which("chromium")
FLAGS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
DRAWN = "document.querySelectorAll('canvas').length >= 3"


class Server:
    """A running `aios gui`."""

    def __init__(self, folder: Path) -> None:
        environment = {**os.environ, "AIOS_HOME": str(folder / "home")}
        command = [sys.executable, str(ROOT / "aios.py"), "gui", "--no-browser"]
        self._process = subprocess.Popen(
            command, cwd=folder, env=environment, stdout=subprocess.PIPE, text=True
        )
        assert self._process.stdout
        self.address = self._process.stdout.readline().split()[-1]
        parts = urlsplit(self.address)
        self.port = int(parts.port or 0)
        self._cookie = f"aios-gui-{self.port}={parse_qs(parts.query)['token'][0]}"

    def get(self, path: str) -> bytes:
        connection = HTTPConnection("127.0.0.1", self.port, timeout=120)
        connection.request("GET", path, headers={"Cookie": self._cookie})
        answer = connection.getresponse()
        body = answer.read()
        connection.close()
        if answer.status != 200:
            raise RuntimeError(f"{path}: status {answer.status}")
        return body

    def seconds_of_processor(self) -> float:
        times = psutil.Process(self._process.pid).cpu_times()
        return float(times.user + times.system)

    def end(self) -> None:
        self._process.terminate()
        self._process.wait()


def timed(action: Callable[[], Any]) -> float:
    """Seconds that an action takes."""
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def write_run(log: Path, records: int) -> None:
    """Write the records of a run, with one spike."""
    log.parent.mkdir(parents=True)
    with log.open("w", encoding="utf-8", newline="\n") as file:
        head = {"schema_version": 1, "ts": "2026-12-01T00:00:00.000Z"}
        config = {"training": {"steps": records}}
        file.write(json.dumps({**head, "event": "run_start", "step": 0, "config": config}) + "\n")
        for step in range(1, records + 1):
            figures = {"loss": 50.0 if step == records // 3 else 3 + 1000 / (step + 200), "lr": 1e-3}
            figures |= {"grad_norm": 1.0, "tokens": 1024, "tokens_per_second": 20_000.0 + step % 97}
            figures |= {"step_seconds": 0.05, "peak_memory_bytes": 2**30}
            file.write(
                json.dumps({**head, "event": "train", "step": step, **figures, "backend": "sdpa"}) + "\n"
            )


def in_browser(server: Server, run: str, idle: float) -> None:
    """Time both pages until they are drawn, and the processor time of the idle first page."""
    from playwright.sync_api import sync_playwright

    root = f"http://127.0.0.1:{server.port}"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        tab = browser.new_page()
        tab.set_default_timeout(120_000)

        def home() -> None:
            tab.goto(server.address if tab.url == "about:blank" else root)
            tab.wait_for_selector("h1")

        show("first page drawn, empty cache", timed(home))
        show("first page drawn again", timed(home))
        before = server.seconds_of_processor()
        time.sleep(idle)
        used = server.seconds_of_processor() - before
        sys.stdout.write(f"{'idle page':42} {used / idle:8.2%} of a core\n")

        def open_run() -> None:
            tab.goto(root + run)
            tab.wait_for_function(DRAWN)

        before = server.seconds_of_processor()
        show("run drawn", timed(open_run))
        show("  of it, processor time of the server", server.seconds_of_processor() - before)
        browser.close()


def show(what: str, seconds: float) -> None:
    sys.stdout.write(f"{what:42} {seconds:8.2f} s\n")
    sys.stdout.flush()


def main() -> int:
    """Print the figures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--records", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--idle", type=float, default=20.0)
    options = parser.parse_args()
    load = f", load {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""
    sys.stdout.write(f"{options.records:,} records, {os.cpu_count()} cores{load}\n")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_run(folder / "artifacts" / "long" / "metrics.jsonl", options.records)
        run = f"/run?{urlencode({'log': 'artifacts/long/metrics.jsonl'})}"
        begun = time.perf_counter()
        server = Server(folder)
        try:
            show("start to address", time.perf_counter() - begun)
            server.get("/")
            show("start to first page", time.perf_counter() - begun)
            show(
                "first page, median",
                statistics.median(timed(lambda: server.get("/")) for _ in range(options.rounds)),
            )
            show(
                "page of the run without its curves, median",
                statistics.median(timed(lambda: server.get(run)) for _ in range(options.rounds)),
            )
        finally:
            server.end()
        if CHROMIUM:
            # A new one: until they are dropped, pages that were only fetched wait for their browser, ten times a second
            server = Server(folder)
            try:
                in_browser(server, run, options.idle)
            finally:
                server.end()
    return 0


if __name__ == "__main__":
    sys.exit(main())
