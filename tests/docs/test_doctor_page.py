"""What the documents say about the doctor is what it does."""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import Any

import typer

from doctor.checks import CHECKS
from doctor.commands.app import COMMANDS, app
from doctor.host.recorded import RecordedHost
from doctor.report.console import Printer
from doctor.report.findings import print_report
from doctor.runs.doctor_run import Target, run_doctor
from tests.doctor.checks.cases import machine_json, patched

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "doctor.md").read_text(encoding="utf-8")
README = (ROOT / "README.md").read_text(encoding="utf-8")
GROUP: Any = typer.main.get_command(app)


def test_the_page_names_every_option_and_no_other() -> None:
    def options(command: Any) -> set[str]:
        return {name for parameter in command.params for name in parameter.opts if name.startswith("--")}

    own = options(GROUP)
    everywhere = own.union(*(options(GROUP.load(name)) for name in COMMANDS))
    named = set(re.findall(r"(?<![-\w])--[a-z][a-z-]*", PAGE))
    assert own - named <= {"--verbose", "--help"}
    assert named <= everywhere
    assert "`-v`" in PAGE


def test_the_readmes_example_is_what_the_doctor_says() -> None:
    (block,) = re.findall(r"with nothing set up:\n\n((?:    .*\n|\n)+)", README)
    told = [line.removeprefix("    ") for line in block.rstrip().splitlines() if line.strip() != "..."]
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
    target = Target(RecordedHost(unprepared), CHECKS, recorded=True)
    stream = io.StringIO()
    groups = {check.id: check.group for check in CHECKS}
    report = run_doctor(target).report
    live = report.machine.model_copy(update={"recorded": False, "elevated": False})
    here = report.model_copy(update={"machine": live})
    print_report(here, groups, Printer(stream, width=100))
    printed = iter(stream.getvalue().splitlines())
    for line in told:
        assert line in printed, f"{line!r} is not there, or not in this order:\n{stream.getvalue()}"
