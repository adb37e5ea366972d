"""Write `docs/images/doctor.svg`, what `aios doctor` prints on a Windows machine with nothing set up.

`python scripts/regenerate.py` runs it. `make_screenshots.py` makes the pictures of `aios gui`. `docs/images/loss.svg` is drawn by
hand, from a finished run of the quickstart:

    aios plot artifacts/quickstart --output docs/images/loss.svg
"""

from __future__ import annotations

import io
import sys
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import MONOKAI

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT)]

from doctor.checks import CHECKS  # noqa: E402
from doctor.host.recorded import RecordedHost  # noqa: E402
from doctor.models import Report  # noqa: E402
from doctor.report.console import Printer  # noqa: E402
from doctor.report.findings import print_report  # noqa: E402
from doctor.runs.doctor_run import Target, run_doctor  # noqa: E402
from doctor.started_as import set_command  # noqa: E402
from tests.doctor.checks.cases import machine_json, patched  # noqa: E402

PICTURE = ROOT / "docs" / "images" / "doctor.svg"
WIDTH = 100  # cells
# rich's own format loads a font from elsewhere
FORMAT = """\
<svg viewBox="0 0 {width} {height}" xmlns="http://www.w3.org/2000/svg" role="img">
<title>aios doctor</title>
<style>
.{unique_id}-matrix {{ font: {char_height}px/{line_height}px Consolas, "DejaVu Sans Mono", Menlo, monospace; }}
.{unique_id}-title {{ font: bold 18px system-ui, sans-serif; }}
{styles}
</style>
<defs>
<clipPath id="{unique_id}-clip-terminal"><rect width="{terminal_width}" height="{terminal_height}" /></clipPath>
{lines}
</defs>
{chrome}
<g transform="translate({terminal_x}, {terminal_y})" clip-path="url(#{unique_id}-clip-terminal)">
{backgrounds}
<g class="{unique_id}-matrix">
{matrix}
</g>
</g>
</svg>
"""


def report_on_unprepared_machine() -> Report:
    """The report on a Windows machine without long paths, with torch for the CPU."""
    files = machine_json("windows-rtx4090")["files"]
    (version,) = (name for name in files if name.endswith("torch\\version.py"))
    unprepared = patched(
        "windows-rtx4090",
        {
            "registry": {
                r"HKLM\SYSTEM\CurrentControlSet\Control\FileSystem": {"LongPathsEnabled": None},
            },
            "files": {version: {"text": "__version__ = '2.13.0+cpu'\ncuda = None\n"}},
            "git_settings": {"core.longpaths": None},
        },
    )
    report = run_doctor(Target(RecordedHost(unprepared), CHECKS, recorded=True)).report
    live = report.machine.model_copy(update={"recorded": False, "elevated": False})
    return report.model_copy(update={"machine": live})


def picture() -> str:
    """Return the SVG."""
    set_command("aios", ())  # however this process was started
    printer = Printer(io.StringIO(), width=WIDTH)
    printer.console = Console(
        record=True,
        file=io.StringIO(),
        force_terminal=True,
        color_system="standard",
        width=WIDTH,
        markup=False,
        highlight=False,
        emoji=False,
    )
    print_report(report_on_unprepared_machine(), {check.id: check.group for check in CHECKS}, printer)
    return printer.console.export_svg(
        title="aios doctor", theme=MONOKAI, code_format=FORMAT, unique_id="doctor"
    )


def main() -> None:
    PICTURE.parent.mkdir(parents=True, exist_ok=True)
    PICTURE.write_text(picture(), encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()
