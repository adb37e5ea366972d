"""Take pictures of every page of `aios gui`, with real content, in both themes and both widths.

    python scripts/make_screenshots.py FOLDER           # whole pages, to look at: PAGE-WIDTH-THEME.png
    python scripts/make_screenshots.py FOLDER --keep    # also those that the documentation shows, into docs/images

Needs Chromium and the test tools. In a temporary folder it diagnoses a recorded machine, trains two models, measures settings, and
plans an installation from an index on loopback. It takes some minutes.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "scripts")]

from make_pictures import report_on_unprepared_machine  # noqa: E402
from PIL import Image  # noqa: E402

from doctor.host.live import live_host  # noqa: E402
from doctor.runs.history import save_report  # noqa: E402
from doctor.runs.run_folders import new_run_folder  # noqa: E402
from tests.chromium import DESKTOP, PHONE, running_chromium  # noqa: E402
from tests.doctor.install import loopback, stand_ins  # noqa: E402
from tests.doctor.install.catalogues import publish  # noqa: E402
from tests.doctor.install.fresh_environment import Environment, make_environment  # noqa: E402
from tests.gui.serving import HOME, Served, serving  # noqa: E402
from tests.gui.visiting import Visit  # noqa: E402

VIEWS = [(width, theme) for width in (DESKTOP, PHONE) for theme in ("light", "dark")]
HEIGHT = 720  # pixels, of a picture that is kept
QUICKSTART = (
    "train",
    "--config",
    "configs/quickstart.yaml",
    "--eval-every",
    "50",
    "--sample-prompt",
    "It is",
)
RUNS = {"artifacts/quickstart": "0.004", "artifacts/slower": "0.001"}
STEPS = "400"
RUN = f"/run?{urlencode({'log': 'artifacts/quickstart/metrics.jsonl'})}"
LABEL = stand_ins.LABEL
KEPT = {  # pictures of the documentation: page, width, theme
    "gui-home": ("home", DESKTOP, "light"),
    "gui-doctor": ("doctor", DESKTOP, "light"),
    "gui-install": ("install", DESKTOP, "light"),
    "gui-train": ("train", DESKTOP, "light"),
    "gui-run": ("run", DESKTOP, "light"),
    "gui-runs": ("runs", DESKTOP, "light"),
    "gui-optimize": ("optimize", DESKTOP, "light"),
    "gui-chat": ("chat", DESKTOP, "dark"),
    "gui-phone": ("run", PHONE, "dark"),
}
Show = Callable[[Visit], Any]


def doctor(visit: Visit) -> Any:
    tab = visit.open("/doctor")
    tab.get_by_text("To do:").wait_for()
    tab.get_by_text("Evidence").first.click()
    return tab


def install(environment: Environment) -> Show:
    def show(visit: Visit) -> Any:
        tab = visit.open("/install")
        tab.get_by_text("Options", exact=True).click()
        tab.get_by_label("Another Python").fill(str(environment.python))
        tab.get_by_role("button", name="Show the plan").click()
        tab.get_by_role("button", name="Apply").wait_for()
        tab.get_by_text("Options", exact=True).click()
        return tab

    return show


def train(visit: Visit) -> Any:
    tab = visit.open("/train?config=configs/quickstart.yaml")
    tab.get_by_text(re.compile("^Attention: ")).wait_for()
    tab.get_by_role("button", name="Preview the data").click()
    tab.get_by_text("Marked text is learned.").wait_for()
    tab.get_by_role("button", name="Measure the time").click()
    tab.get_by_text(re.compile("^Measured: ")).wait_for()
    return tab


def run(visit: Visit) -> Any:
    tab = visit.open(RUN)
    tab.wait_for_function("document.querySelectorAll('canvas').length >= 4")
    return tab


def runs(visit: Visit) -> Any:
    tab = visit.open("/runs")
    for name in RUNS:
        tab.get_by_role("checkbox", name=f"Choose {name}", exact=True).click()
    tab.get_by_role("button", name="Compare", exact=True).click()
    tab.get_by_role("region", name="Output").wait_for()
    return tab


def optimize(visit: Visit) -> Any:
    given = {"config": "configs/quickstart.yaml", "batch-sizes": "4,8,16", "test-duration": "2"}
    tab = visit.open(f"/optimize?{urlencode(given)}")
    if not tab.get_by_role("heading", name="Results").count():
        tab.get_by_role("button", name="Optimize settings").click()
    tab.get_by_role("heading", name="Results").wait_for()
    return tab


def chat(visit: Visit) -> Any:
    tab = visit.open("/chat?checkpoint=artifacts/quickstart")
    tab.get_by_text("Options", exact=True).click()
    tab.get_by_label("Longest answer").fill("120")
    tab.get_by_text("Options", exact=True).click()
    tab.get_by_role("button", name="Load the model").click()
    tab.get_by_text("This model was trained without a chat template").wait_for()
    tab.get_by_label("Message", exact=True).fill("It is a truth universally")
    tab.get_by_role("button", name="Send").click()
    tab.get_by_text(re.compile("of cache$")).wait_for()
    return tab


def prepare(folder: Path) -> None:
    """Train what the pages show, and save the diagnosis of a recorded machine."""
    for name in ("configs", "training_data"):
        shutil.copytree(ROOT / name, folder / name)
    os.environ["AIOS_HOME"] = str(folder / HOME)
    for output, rate in RUNS.items():
        options = ("--steps", STEPS, "--output-dir", output, "--learning-rate", rate)
        subprocess.run([sys.executable, str(ROOT / "aios.py"), *QUICKSTART, *options], cwd=folder, check=True)
    report = report_on_unprepared_machine()
    save_report(report, new_run_folder(live_host(), datetime.now(timezone.utc)))


def index(folder: Path) -> Path:
    """An index with stand-ins of torch and flash-attn; returns the wheel of flash-attn."""
    stand_ins.torch(folder / "whl" / "cu130", "2.14.1+cu130", "13.0")
    for name in ("networkx-stand-in", "einops-stand-in"):
        stand_ins.wheel(folder / "index", name, "1.0", {f"{name.replace('-', '_')}.py": "x = 1\n"})
    return stand_ins.flash_attn(folder / "files" / "v1", LABEL)


def take_all(browser: Any, served: Served, pages: dict[str, Show], target: Path, keep: bool) -> None:
    for width, theme in VIEWS:
        for name, show in pages.items():
            visit = Visit(browser, served, width, theme)
            tab = show(visit)
            tab.wait_for_timeout(500)  # until what has just been drawn is there
            picture = target / f"{name}-{width}-{theme}.png"
            tab.screenshot(path=picture, full_page=True)
            for kept, wanted in KEPT.items():
                if keep and wanted == (name, width, theme):
                    store(picture, ROOT / "docs" / "images" / f"{kept}.png", width)
            sys.stdout.write(f"{picture}\n")
            visit.context.close()


def store(picture: Path, target: Path, width: int) -> None:
    """Store the beginning of a picture with few colours, in a small file."""
    with Image.open(picture) as whole:
        height = min(whole.height, HEIGHT if width == DESKTOP else 2 * HEIGHT)
        part = whole.convert("RGB").crop((0, 0, width, height))
        part.quantize(64, dither=Image.Dither.NONE).save(target, optimize=True)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--keep", action="store_true")
    parser.add_argument("--page", action="append", help="only this page; can be repeated")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="aios-") as name, running_chromium() as browser:
        folder = Path(name)
        environment = make_environment(folder / "environment")
        flash = index(folder / "www")
        prepare(folder)
        pages: dict[str, Show] = {"home": lambda visit: visit.open("/"), "doctor": doctor}
        pages |= {"install": install(environment), "train": train, "run": run, "runs": runs}
        pages |= {"optimize": optimize, "chat": chat}
        with loopback.serving(folder / "www") as server:
            environment.use(server)
            environment.with_gpu()
            publish(folder / HOME, server, [flash])
            shown = {"AIOS_COMMAND": "aios"}  # not the path of this clone
            with serving(folder, variables={**environment.all_variables(), **shown}) as served:
                chosen = {name: pages[name] for name in options.page or pages}
                take_all(browser, served, chosen, options.folder, options.keep)
    return 0


if __name__ == "__main__":
    sys.exit(main())
